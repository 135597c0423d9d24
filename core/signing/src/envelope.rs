//! The DSSE envelope: a payload, its type, and exactly one signature over both (DSSE v1).

use crate::Error;

/// The only payload type of OMS.
pub(crate) const IN_TOTO: &str = "application/vnd.in-toto+json";

/// A payload with one signature, not yet verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    pub(crate) payload: Vec<u8>,
    pub(crate) signature: Vec<u8>,
}

impl Envelope {
    pub(crate) fn new(
        payload_type: String,
        payload: Vec<u8>,
        signature: Vec<u8>,
    ) -> Result<Self, Error> {
        if payload_type != IN_TOTO {
            return Err(Error::PayloadType {
                found: payload_type,
            });
        }
        Ok(Self { payload, signature })
    }

    /// The statement as it is signed. A claim, before a verifier has accepted it.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.payload
    }

    /// The bytes that the signature covers: DSSE's pre-authentication encoding of the payload and its type.
    #[must_use]
    pub fn pre_authentication_encoding(payload: &[u8]) -> Vec<u8> {
        let head = format!("DSSEv1 {} {IN_TOTO} {} ", IN_TOTO.len(), payload.len());
        [head.as_bytes(), payload].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_that_of_the_specification() {
        let encoded = Envelope::pre_authentication_encoding(b"{}");
        assert_eq!(encoded, b"DSSEv1 28 application/vnd.in-toto+json 2 {}");
    }
}
