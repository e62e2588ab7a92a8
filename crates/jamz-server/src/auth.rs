//! Whether a client may connect: the token of its handshake.
//!
//! Tokens are the application's own, signed with HS256; `sub` is the user id. A refresh token
//! carries the same and passes as well, as it does in the REST tier. Tokens are never logged.
//!
//! A token lets a client in where one is required, and is told in the log where one is
//! optional. It does not bind: the user ids that clients send are believed and passed on as
//! they are, in every mode.

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use serde::Deserialize;
use unisono::Value;

use crate::config::{Auth, Secret};

/// Longest token that is looked at, in bytes. The application's tokens have some 300.
pub const MAX_TOKEN_BYTES: usize = 8 * 1024;

/// Why a token does not name a user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// There is none; log in, or send it as `auth.token`.
    #[error("no token in the handshake; send it as auth.token")]
    Missing,
    /// It was valid once; log in again.
    #[error("the token has expired; log in again")]
    Expired,
    /// It is not a token of ours.
    #[error("the token is not valid; log in again")]
    Invalid,
}

/// Checks tokens as configured.
#[derive(Clone)]
pub struct Guard {
    key: Option<DecodingKey>,
    required: bool,
}

impl Guard {
    /// A guard for this configuration.
    pub fn new(auth: &Auth) -> Self {
        let key = |secret: &Secret| DecodingKey::from_secret(secret.expose());
        match auth {
            Auth::Off => Self {
                key: None,
                required: false,
            },
            Auth::Optional(secret) => Self {
                key: secret.as_ref().map(key),
                required: false,
            },
            Auth::Required(secret) => Self {
                key: Some(key(secret)),
                required: true,
            },
        }
    }

    /// Whether the `auth` object of a handshake lets its client in. Looks at the token only
    /// where one is required.
    ///
    /// # Errors
    /// [`TokenError`] where a valid token is required and there is none.
    pub fn admit(&self, auth: &Value) -> Result<(), TokenError> {
        if self.required {
            self.verify(auth)
        } else {
            Ok(())
        }
    }

    /// Whether a client that was let in has shown a valid token. Where one is required it
    /// has, so that no token is decoded twice.
    pub fn is_verified(&self, auth: &Value) -> bool {
        self.required || self.verify(auth).is_ok()
    }

    fn verify(&self, auth: &Value) -> Result<(), TokenError> {
        let token = match auth {
            Value::Map(fields) => fields.iter().find(|(name, _)| name == "token"),
            _ => None,
        };
        let token = token.and_then(|(_, value)| value.as_str());
        let token = token.filter(|token| !token.is_empty());
        let token = token.ok_or(TokenError::Missing)?;
        let key = self.key.as_ref().ok_or(TokenError::Invalid)?;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Invalid);
        }
        let mut validation = Validation::new(Algorithm::HS256);
        validation.validate_aud = false;
        match decode::<Claims>(token, key, &validation) {
            Ok(_) => Ok(()),
            Err(error) if *error.kind() == ErrorKind::ExpiredSignature => Err(TokenError::Expired),
            Err(_) => Err(TokenError::Invalid),
        }
    }
}

/// What a token of ours has besides its end.
#[derive(Deserialize)]
struct Claims {
    #[serde(rename = "sub")]
    _sub: String,
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{EncodingKey, Header, encode};
    use serde_json::json;

    use super::*;
    use crate::clock::now_ms;

    const SECRET: &str = "a secret of the tests";

    fn token(algorithm: Algorithm, secret: &str, expires_in_s: i64) -> String {
        let now = i64::try_from(now_ms() / 1000).unwrap();
        let claims = json!({"sub": "u1", "username": "x", "iat": now, "exp": now + expires_in_s});
        let key = EncodingKey::from_secret(secret.as_bytes());
        encode(&Header::new(algorithm), &claims, &key).unwrap()
    }

    fn auth(token: impl Into<Value>) -> Value {
        Value::Map(vec![("token".to_owned(), token.into())])
    }

    #[test]
    fn who_is_admitted() {
        let secret = || Secret::new(SECRET);
        let good = token(Algorithm::HS256, SECRET, 3600);
        let expired = token(Algorithm::HS256, SECRET, -3600);
        let foreign = token(Algorithm::HS256, "another secret", 3600);
        let other = token(Algorithm::HS512, SECRET, 3600);
        let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJ1MSIsImV4cCI6OTk5OTk5OTk5OX0.";
        let long = "x".repeat(MAX_TOKEN_BYTES + 1);

        let required = Guard::new(&Auth::Required(secret()));
        let optional = Guard::new(&Auth::Optional(Some(secret())));
        let check = |auth: Value, expected: Result<(), TokenError>| {
            assert_eq!(required.admit(&auth), expected);
            assert_eq!(optional.admit(&auth), Ok(()));
            assert_eq!(optional.is_verified(&auth), expected.is_ok());
            for unable in [Auth::Off, Auth::Optional(None)] {
                let guard = Guard::new(&unable);
                assert_eq!(guard.admit(&auth), Ok(()));
                assert!(!guard.is_verified(&auth));
            }
        };
        check(auth(good), Ok(()));
        check(auth(expired), Err(TokenError::Expired));
        check(auth(foreign), Err(TokenError::Invalid));
        check(auth(other), Err(TokenError::Invalid));
        check(auth(unsigned), Err(TokenError::Invalid));
        check(auth(long), Err(TokenError::Invalid));
        check(auth(""), Err(TokenError::Missing));
        check(auth(Value::Null), Err(TokenError::Missing));
        check(Value::Null, Err(TokenError::Missing));
    }
}
