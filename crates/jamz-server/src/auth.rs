//! Who a socket belongs to: the token of its handshake.
//!
//! Tokens are the application's own, signed with HS256; `sub` is the user id. A refresh token
//! carries the same and passes as well, as it does in the REST tier. Tokens are never logged,
//! and the user ids that clients send are passed on as they are.

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

    /// The user that the `auth` object of a handshake names; `None` is an anonymous socket.
    ///
    /// # Errors
    /// [`TokenError`] where a valid token is required and there is none.
    pub fn admit(&self, auth: &Value) -> Result<Option<String>, TokenError> {
        match self.user(auth) {
            Ok(user) => Ok(Some(user)),
            Err(error) if self.required => Err(error),
            Err(_) => Ok(None),
        }
    }

    fn user(&self, auth: &Value) -> Result<String, TokenError> {
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
            Ok(token) => Ok(token.claims.sub),
            Err(error) if *error.kind() == ErrorKind::ExpiredSignature => Err(TokenError::Expired),
            Err(_) => Err(TokenError::Invalid),
        }
    }
}

#[derive(Deserialize)]
struct Claims {
    sub: String,
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
        let check = |auth: Value, expected: Result<&str, TokenError>| {
            let user = expected.map(|user| Some(user.to_owned()));
            assert_eq!(required.admit(&auth), user);
            assert_eq!(optional.admit(&auth), Ok(user.unwrap_or(None)));
            assert_eq!(Guard::new(&Auth::Off).admit(&auth), Ok(None));
            assert_eq!(Guard::new(&Auth::Optional(None)).admit(&auth), Ok(None));
        };
        check(auth(good), Ok("u1"));
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
