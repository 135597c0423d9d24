// verify.mjs TRUSTED_ROOT BUNDLE IDENTITY ISSUER: ends with 0 if the bundle is signed by that identity.
import { readFileSync } from "node:fs";
import { bundleFromJSON } from "@sigstore/bundle";
import { TrustedRoot } from "@sigstore/protobuf-specs";
import { Verifier, toSignedEntity, toTrustMaterial } from "@sigstore/verify";

const [root, bundle, identity, issuer] = process.argv.slice(2);
const json = (file) => JSON.parse(readFileSync(file, "utf8"));

const thresholds = { tlogThreshold: 1, ctlogThreshold: 1, timestampThreshold: 1 };
const verifier = new Verifier(toTrustMaterial(TrustedRoot.fromJSON(json(root))), thresholds);
const policy = { subjectAlternativeName: identity, extensions: { issuer } };
verifier.verify(toSignedEntity(bundleFromJSON(json(bundle))), policy);
