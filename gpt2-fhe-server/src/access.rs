//! Who may ask.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, StatusCode, header};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::failure::Failure;

/// The fewest characters of a token.
const SHORTEST: usize = 16;
/// The most bytes of its file.
const LONGEST: u64 = 4096;

/// Why nobody could be let in as it was asked for.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Everybody would be let in.
    #[error("{0} can be reached from other computers: give a secret word with --token-file, or listen at 127.0.0.1")]
    Open(SocketAddr),
    /// The file cannot be read.
    #[error("cannot read --token-file {}: {}", .0.display(), .1)]
    Unreadable(PathBuf, io::Error),
    /// Others can read the file.
    #[error("others than its owner may use --token-file {}: chmod 600 it", .0.display())]
    Exposed(PathBuf),
    /// What is in it is no token.
    #[error("--token-file {} must have one word of {SHORTEST} characters or more, of printable ASCII", .0.display())]
    Unfit(PathBuf),
}

/// Who may ask: everyone on this computer, or those who know a token.
#[derive(Clone, Debug)]
pub(crate) struct Access {
    /// SHA-256 of the token: of one length, whatever is compared with it.
    token: Option<[u8; 32]>,
}

impl Access {
    /// As the options say.
    ///
    /// # Errors
    /// [`AccessError`].
    pub(crate) fn new(listen: SocketAddr, token_file: Option<&Path>) -> Result<Self, AccessError> {
        match token_file {
            Some(path) => Ok(Self { token: Some(hash(&read_token(path)?)) }),
            None if listen.ip().is_loopback() => Ok(Self { token: None }),
            None => Err(AccessError::Open(listen)),
        }
    }

    /// Whether who sends these headers may ask.
    ///
    /// # Errors
    /// Status 401, or 403 of what a browser sends on behalf of a web page: a page must not use a server that asks for no token.
    pub(crate) fn check(&self, headers: &HeaderMap) -> Result<(), Failure> {
        let Some(token) = &self.token else { return check_is_local(headers) };
        let given = headers.get(header::AUTHORIZATION).map_or(&[] as &[u8], |value| value.as_bytes());
        let given = given.strip_prefix(b"Bearer ").unwrap_or_default();
        if bool::from(hash(given).ct_eq(token)) {
            return Ok(());
        }
        let line = "this server asks for its token: send the header \"Authorization: Bearer TOKEN\"";
        Err(Failure::new(StatusCode::UNAUTHORIZED, line))
    }
}

/// No request of a page, nor one by a name that a page's owner has let lead here.
fn check_is_local(headers: &HeaderMap) -> Result<(), Failure> {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let name = host.rsplit_once(':').filter(|(_, port)| is_port(port)).map_or(host, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']');
    let is_local = name == "localhost" || address.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if is_local && !headers.contains_key(header::ORIGIN) {
        return Ok(());
    }
    let line = "without a token this server is for programs on this computer, by its address: not for web pages";
    Err(Failure::new(StatusCode::FORBIDDEN, line))
}

fn hash(token: &[u8]) -> [u8; 32] {
    Sha256::digest(token).into()
}

fn read_token(path: &Path) -> Result<Vec<u8>, AccessError> {
    let unreadable = |error| AccessError::Unreadable(path.into(), error);
    let metadata = fs::metadata(path).map_err(unreadable)?;
    #[cfg(unix)]
    if std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0 {
        return Err(AccessError::Exposed(path.into()));
    }
    if !metadata.is_file() || metadata.len() > LONGEST {
        return Err(AccessError::Unfit(path.into()));
    }
    let contents = fs::read(path).map_err(unreadable)?;
    let token = contents.trim_ascii();
    let is_word = token.len() >= SHORTEST && token.iter().all(u8::is_ascii_graphic);
    if is_word { Ok(token.to_vec()) } else { Err(AccessError::Unfit(path.into())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(header::HeaderName, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.clone(), header::HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn pages_are_not_let_in() {
        let access = Access::new("127.0.0.1:1".parse().unwrap(), None).unwrap();
        for host in ["localhost", "localhost:80", "127.0.0.1:8077", "[::1]:8077", "127.0.0.2"] {
            assert!(access.check(&headers(&[(header::HOST, host)])).is_ok(), "{host}");
        }
        for host in ["", "example.com", "example.com:8077", "192.0.2.1:8077", "localhost.example.com"] {
            assert_eq!(access.check(&headers(&[(header::HOST, host)])).unwrap_err().status, 403, "{host}");
        }
        let page = headers(&[(header::HOST, "localhost"), (header::ORIGIN, "http://example.com")]);
        assert_eq!(access.check(&page).unwrap_err().status, 403);
    }

    #[test]
    fn the_whole_token_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        let write = |token: &str, mode: u32| {
            fs::write(&path, token).unwrap();
            #[cfg(unix)]
            fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            Access::new("192.0.2.1:80".parse().unwrap(), Some(&path))
        };
        let access = write("0123456789abcdef\n", 0o600).unwrap();
        let given = |value| access.check(&headers(&[(header::AUTHORIZATION, value)])).is_ok();
        assert!(given("Bearer 0123456789abcdef"));
        for wrong in ["", "Bearer ", "Bearer 0123456789abcde", "Bearer 0123456789abcdef0", "Basic 0123456789abcdef"] {
            assert!(!given(wrong), "{wrong}");
        }
        assert!(matches!(write("0123456789abcde", 0o600), Err(AccessError::Unfit(_))));
        assert!(matches!(write("0123456789abcdef 0123456789abcdef", 0o600), Err(AccessError::Unfit(_))));
        #[cfg(unix)]
        assert!(matches!(write("0123456789abcdef", 0o640), Err(AccessError::Exposed(_))));
        assert!(matches!(Access::new("0.0.0.0:80".parse().unwrap(), None), Err(AccessError::Open(_))));
    }
}
