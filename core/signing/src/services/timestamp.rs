//! A timestamp authority, which says when a signature existed (RFC 3161).

use std::time::SystemTime;

use cms::signed_data::SignedData;
use der::asn1::{Int, OctetString, Uint};
use der::oid::ObjectIdentifier;
use der::{Decode, Encode};
use x509_cert::spki::AlgorithmIdentifier;
use x509_tsp::{MessageImprint, TimeStampReq, TimeStampResp, TspVersion, TstInfo};

use super::Http;
use crate::{Digest, Error, random};

const SHA256: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.16.840.1.101.3.4.2.1");

/// The DER response of the authority at `url` over `signature`, for the nonce and the imprint that were sent. Whether
/// its own signature is right is the verifier's to say.
pub(crate) fn request_timestamp(
    http: &Http<'_>,
    url: &str,
    signature: &[u8],
) -> Result<Vec<u8>, Error> {
    let failed = |_| Error::SigningFailed;
    let nonce = Uint::new(&random::<8>()?).map(Int::from).map_err(failed)?;
    let imprint = MessageImprint {
        hash_algorithm: AlgorithmIdentifier {
            oid: SHA256,
            parameters: None,
        },
        hashed_message: OctetString::new(Digest::of(signature).as_bytes()).map_err(failed)?,
    };
    let request = TimeStampReq {
        version: TspVersion::V1,
        message_imprint: imprint,
        req_policy: None,
        nonce: Some(nonce),
        cert_req: true,
        extensions: None,
    };
    let body = request.to_der().map_err(failed)?;
    let answer = http.post(url, "application/timestamp-query", &body, &[200, 201])?;
    let info = info(&answer.body).map_err(|error| http.misbehaved(error))?;
    if info.nonce != request.nonce {
        return Err(http.misbehaved("its timestamp is for another request (the nonce differs)"));
    }
    if info.message_imprint.hashed_message != request.message_imprint.hashed_message {
        return Err(http.misbehaved("its timestamp is of something else"));
    }
    Ok(answer.body.to_vec())
}

/// When the timestamp in a response says that it was made. Proves nothing.
pub(crate) fn timestamp_time(response: &[u8]) -> Result<SystemTime, String> {
    Ok(info(response)?.gen_time.to_system_time())
}

fn info(response: &[u8]) -> Result<TstInfo, String> {
    let malformed = |error: der::Error| format!("its timestamp is malformed: {error}");
    let response = TimeStampResp::from_der(response).map_err(malformed)?;
    let token = response
        .time_stamp_token
        .ok_or_else(|| format!("it refused: {:?}", response.status.status))?;
    let signed: SignedData = token.content.decode_as().map_err(malformed)?;
    let content = signed
        .encap_content_info
        .econtent
        .ok_or("its timestamp is empty")?;
    let bytes: OctetString = content.decode_as().map_err(malformed)?;
    TstInfo::from_der(bytes.as_bytes()).map_err(malformed)
}
