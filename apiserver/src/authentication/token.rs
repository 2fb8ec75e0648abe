//! Tokens of ServiceAccounts: JSON Web Tokens (RFC 7519) signed with ES256 by the cluster's own key.
//!
//! One algorithm and one key: a token whose header names another is refused before its signature is looked at. What a
//! token says is a claim until [`super::accounts`] has found the account (and the pod or node that it is bound to)
//! alive.
//!
//! The claims are Kubernetes' own (`pkg/serviceaccount/claims.go`): `sub` is the user name, `kubernetes.io` names the
//! objects with their uids, `warnafter` marks a token that lives longer than was asked for.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair,
        UnparsedPublicKey,
    },
};
use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Who issues tokens, and for whom they are by default.
pub const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";

/// A longer text is no token of ours.
const MAX_TOKEN: usize = 16 * 1024;

/// DER of a P-256 public key, up to the point itself (RFC 5480).
const P256_SPKI: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// An object that a token names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// Its uid; empty for one that does not exist.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
}

/// The claim `kubernetes.io`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Private {
    /// The account's namespace.
    pub namespace: String,
    /// The account.
    pub serviceaccount: Named,
    /// The pod that the token dies with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pod: Option<Named>,
    /// The pod's node, or the node that the token dies with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node: Option<Named>,
    /// The Secret that the token dies with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub secret: Option<Named>,
    /// After this moment its holder should have asked for a new one, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnafter: Option<i64>,
}

/// What a token says. Times are seconds since 1970.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Claims {
    /// For whom it is.
    pub aud: Vec<String>,
    /// When it ends.
    pub exp: i64,
    /// When it was issued.
    pub iat: i64,
    /// Who issued it.
    pub iss: String,
    /// Its own identifier.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub jti: String,
    /// The objects.
    #[serde(rename = "kubernetes.io")]
    pub private: Private,
    /// From when on it holds.
    pub nbf: i64,
    /// The user name.
    pub sub: String,
}

#[derive(Deserialize)]
struct Header {
    alg: String,
    #[serde(default)]
    kid: String,
}

/// Why a text is no good token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Not a token of this cluster.
    #[error("invalid bearer token")]
    Invalid,
    /// One of this cluster, but not now.
    #[error("service account token has expired")]
    Expired,
    /// One of this cluster, not yet.
    #[error("service account token is not valid yet")]
    NotYet,
}

/// Why a key cannot sign.
#[derive(Debug, thiserror::Error)]
#[error(
    "failed to read the key of ServiceAccount tokens: a PKCS#8 PEM of an ECDSA P-256 key is needed"
)]
pub struct KeyError;

/// Signs and checks tokens; cheap to clone.
#[derive(Clone)]
pub struct TokenKey {
    inner: Arc<Inner>,
}

struct Inner {
    key: EcdsaKeyPair,
    /// The public point, uncompressed: 0x04, x, y.
    point: Vec<u8>,
    id: String,
    random: SystemRandom,
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenKey").field("id", &self.inner.id).finish_non_exhaustive()
    }
}

impl TokenKey {
    /// A new key, for a cluster that keeps none: its tokens end with the process.
    #[must_use]
    pub fn generate() -> Self {
        let document =
            EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new())
                .expect("the system has random numbers");
        Self::from_der(document.as_ref()).expect("a key just made is a key")
    }

    /// Reads a key.
    ///
    /// # Errors
    /// When the PEM holds no ECDSA P-256 key.
    pub fn from_pem(pem: &str) -> Result<Self, KeyError> {
        let der = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError)?;
        Self::from_der(der.secret_pkcs8_der())
    }

    fn from_der(der: &[u8]) -> Result<Self, KeyError> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random)
            .map_err(|_| KeyError)?;
        let point = key.public_key().as_ref().to_vec();
        let spki = [&P256_SPKI[..], &point].concat();
        let id = URL_SAFE_NO_PAD.encode(digest(&SHA256, &spki));
        Ok(Self { inner: Arc::new(Inner { key, point, id, random }) })
    }

    /// Makes a token.
    #[must_use]
    pub fn sign(&self, claims: &Claims) -> String {
        let header = json!({"alg": "ES256", "kid": self.inner.id}).to_string();
        let claims = serde_json::to_vec(claims).expect("claims are JSON");
        let mut token = URL_SAFE_NO_PAD.encode(header);
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(claims, &mut token);
        let signature = self.inner.key.sign(&self.inner.random, token.as_bytes());
        let signature = signature.expect("the system has random numbers");
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        token
    }

    /// Checks a token's form, signature, issuer and times (`now` in seconds since 1970).
    ///
    /// # Errors
    /// When it is not one of this key's, or not good now.
    pub fn verify(&self, token: &str, now: i64) -> Result<Claims, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Invalid)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Invalid)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| TokenError::Invalid);
        let header: Header =
            serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Invalid)?;
        if header.alg != "ES256" || header.kid != self.inner.id {
            return Err(TokenError::Invalid);
        }
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, &self.inner.point)
            .verify(signed.as_bytes(), &decode(signature)?)
            .map_err(|_| TokenError::Invalid)?;
        let claims: Claims =
            serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Invalid)?;
        if claims.iss != ISSUER {
            return Err(TokenError::Invalid);
        }
        if now >= claims.exp {
            return Err(TokenError::Expired);
        }
        if now < claims.nbf {
            return Err(TokenError::NotYet);
        }
        Ok(claims)
    }

    /// The public key, as `/openid/v1/jwks` tells it (RFC 7517).
    #[must_use]
    pub fn jwks(&self) -> Value {
        let coordinate =
            |range: std::ops::Range<usize>| URL_SAFE_NO_PAD.encode(&self.inner.point[range]);
        json!({"keys": [{
            "use": "sig", "kty": "EC", "kid": self.inner.id, "crv": "P-256", "alg": "ES256",
            "x": coordinate(1..33), "y": coordinate(33..65),
        }]})
    }

    /// What `/.well-known/openid-configuration` tells, for a server at this address.
    #[must_use]
    pub fn discovery(jwks_uri: &str) -> Value {
        json!({
            "issuer": ISSUER,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["ES256"],
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        Claims {
            aud: vec![ISSUER.to_owned()],
            exp: 2000,
            iat: 1000,
            nbf: 1000,
            iss: ISSUER.to_owned(),
            sub: "system:serviceaccount:a:bot".to_owned(),
            private: Private {
                namespace: "a".to_owned(),
                serviceaccount: Named { name: "bot".to_owned(), uid: "1".to_owned() },
                ..Private::default()
            },
            ..Claims::default()
        }
    }

    #[test]
    fn what_is_signed_is_read_back() {
        let key = TokenKey::generate();
        let token = key.sign(&claims());
        assert_eq!(key.verify(&token, 1500), Ok(claims()));
        assert_eq!(key.verify(&token, 2000), Err(TokenError::Expired));
        assert_eq!(key.verify(&token, 999), Err(TokenError::NotYet));
        assert_eq!(TokenKey::generate().verify(&token, 1500), Err(TokenError::Invalid));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let key = TokenKey::generate();
        let token = key.sign(&claims());
        let parts: Vec<&str> = token.split('.').collect();
        let encode = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let check = |forged: &str| {
            assert_eq!(key.verify(forged, 1500), Err(TokenError::Invalid), "{forged}");
        };
        check("");
        check("..");
        check("a.b.c");
        check(&parts[..2].join("."));
        check(&"x".repeat(MAX_TOKEN + 1));
        // Another algorithm, none at all, and other claims under the same signature.
        let none = encode(json!({"alg": "none", "kid": key.inner.id}));
        check(&format!("{none}.{}.", parts[1]));
        check(&format!("{none}.{}.{}", parts[1], parts[2]));
        let symmetric = encode(json!({"alg": "HS256", "kid": key.inner.id}));
        check(&format!("{symmetric}.{}.{}", parts[1], parts[2]));
        let mut other = claims();
        other.sub = "system:serviceaccount:a:admin".to_owned();
        let other = encode(serde_json::to_value(other).unwrap());
        check(&format!("{}.{other}.{}", parts[0], parts[2]));
        // Signed well, for another cluster.
        let foreign = Claims { iss: "https://elsewhere".to_owned(), ..claims() };
        check(&key.sign(&foreign));
    }

    #[test]
    fn the_public_key_is_published() {
        let jwks = TokenKey::generate().jwks();
        let key = &jwks["keys"][0];
        assert_eq!((key["kty"].as_str(), key["crv"].as_str()), (Some("EC"), Some("P-256")));
        for coordinate in ["x", "y"] {
            let bytes = URL_SAFE_NO_PAD.decode(key[coordinate].as_str().unwrap()).unwrap();
            assert_eq!(bytes.len(), 32);
        }
    }
}
