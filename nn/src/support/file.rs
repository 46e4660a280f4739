//! Files as users name them: opened only if they are files, and read only as far as they may go.

use crate::error::Error;
use serde::de::DeserializeOwned;
use std::fs::{self, File, FileType};
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The largest JSON file that is read, in bytes: an index of a million tensors, the largest vocabularies, and far more
/// than any configuration.
const MAX_JSON_BYTES: u64 = 100_000_000;
/// What Git LFS leaves in the place of a file that has not been fetched.
const GIT_LFS: &[u8] = b"version https://git-lfs.github.com/spec/";
/// The byte order mark in UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether there is anything by this name.
///
/// # Errors
/// [`Error::Malformed`] if it is there but is not a file: a folder, a pipe, or a link to what is not there.
pub(crate) fn is_there(path: &Path) -> Result<bool, Error> {
    match fs::symlink_metadata(path) {
        Err(_) => Ok(false),
        Ok(_) => check(path).map(|()| true),
    }
}

/// Opens a file.
///
/// # Errors
/// [`Error::File`] if it cannot be opened, [`Error::Malformed`] if it is not a file, as [`is_there`].
pub(crate) fn open(path: &Path) -> Result<File, Error> {
    // First, since opening a named pipe waits for someone to write to it.
    check(path)?;
    File::open(path).map_err(|source| failed("open", path, source))
}

/// Checks that a path leads to a file.
fn check(path: &Path) -> Result<(), Error> {
    let malformed = |reason| Err(Error::Malformed { path: path.into(), reason });
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(()),
        Ok(metadata) => malformed(format!("it is {}, and a file is needed", kind(metadata.file_type()))),
        Err(source) => match fs::read_link(path) {
            Ok(target) if source.kind() == ErrorKind::NotFound => {
                malformed(format!("it is a link to {}, which is not there; fetch that file, too", target.display()))
            }
            _ => Err(failed("open", path, source)),
        },
    }
}

/// What is no file, in words.
fn kind(kind: FileType) -> &'static str {
    if kind.is_dir() {
        return "a folder";
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_fifo() {
            return "a pipe";
        }
        if kind.is_char_device() || kind.is_block_device() {
            return "a device";
        }
    }
    "not a file"
}

/// What a file that begins with these bytes is, if it is none of the formats that this crate reads.
pub(crate) fn other_format(start: &[u8]) -> Option<&'static str> {
    const FORMATS: [(&[u8], &str); 8] = [
        (GIT_LFS, "a pointer of Git LFS in the place of the file; fetch the file itself, by `git lfs pull`"),
        (b"PK\x03\x04", "a zip archive, as PyTorch's .bin and .pt files are; write the weights as safetensors"),
        (b"\x80\x02", "a pickle of Python's, which can run code when it is read; write the weights as safetensors"),
        (b"\x89HDF", "an HDF5 file; write the weights as safetensors"),
        (b"GGUF", "a GGUF file; write the weights as safetensors"),
        (b"\x1f\x8b", "compressed by gzip; unpack it"),
        (b"<!", "a page of the web, not the file that it is about; download that"),
        (b"<html", "a page of the web, not the file that it is about; download that"),
    ];
    FORMATS.into_iter().find(|(magic, _)| start.starts_with(magic)).map(|(_, name)| name)
}

/// The text that a file's bytes are, in UTF-8 with or without a byte order mark, which is left out.
///
/// # Errors
/// What is wrong, if they are not UTF-8.
pub fn decode_text(bytes: &[u8]) -> Result<&str, String> {
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    // The marks of UTF-16 in its two byte orders; without one, ASCII in UTF-16 has every second byte 0.
    let is_utf_16 = matches!(bytes, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [0, 1..=u8::MAX, ..] | [1..=u8::MAX, 0, ..]);
    match std::str::from_utf8(bytes) {
        _ if is_utf_16 => Err("it is text in UTF-16; save it as UTF-8".into()),
        Ok(text) => Ok(text),
        Err(error) => {
            Err(format!("it is not text in UTF-8, which ends at byte {}; save it as UTF-8", error.valid_up_to()))
        }
    }
}

/// Reads a file of at most `limit` bytes.
pub(crate) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    // A file can grow while it is read.
    open(path)?.take(limit + 1).read_to_end(&mut bytes).map_err(|source| failed("read", path, source))?;
    let malformed = |reason| Err(Error::Malformed { path: path.into(), reason });
    if bytes.len() as u64 > limit {
        return malformed(format!("it has more than {limit} bytes"));
    }
    match other_format(&bytes) {
        Some(format) => malformed(format!("it is {format}")),
        None => Ok(bytes),
    }
}

/// Reads a JSON file, as [`parse_json`]; the inner error is what is wrong with the text.
///
/// # Errors
/// [`Error::File`], [`Error::Malformed`] if the file is larger than any that is meant to be read, or not a file.
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Result<T, String>, Error> {
    Ok(parse_json(&read(path, MAX_JSON_BYTES)?))
}

/// Parses JSON as Python writes it: with `NaN`, `Infinity` and `-Infinity` as numbers. They become strings, so that
/// they do no harm where nobody needs the number, and are named where someone does.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn parse_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let text = decode_text(bytes)?;
    let parsed = match serde_json::from_str(text) {
        Err(_) if text.contains("NaN") || text.contains("Infinity") => serde_json::from_str(&quote_not_finite(text)),
        parsed => parsed,
    };
    parsed.map_err(|error| error.to_string())
}

/// The text with quotes around each `NaN`, `Infinity` and `-Infinity` that is not part of a string.
fn quote_not_finite(text: &str) -> String {
    let (mut quoted, mut rest) = (String::with_capacity(text.len() + 16), text);
    while let Some(position) = rest.find(['"', 'N', 'I', '-']) {
        quoted.push_str(&rest[..position]);
        rest = &rest[position..];
        let word = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| rest.starts_with(word));
        let length = match word {
            Some(word) => {
                quoted.push_str(&format!("\"{word}\""));
                rest = &rest[word.len()..];
                continue;
            }
            None if rest.starts_with('"') => string_length(rest),
            None => 1,
        };
        quoted.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    quoted + rest
}

/// The bytes of the JSON string at the beginning of `text`, with its quotes; all, if it does not end.
fn string_length(text: &str) -> usize {
    let mut escaped = false;
    for (position, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return position + 1,
            _ => {}
        }
    }
    text.len()
}

/// The error of an action on a file.
pub(crate) fn failed(action: &'static str, path: &Path, source: std::io::Error) -> Error {
    Error::File { action, path: path.to_path_buf(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    #[test]
    fn numbers_of_python_that_are_not_json() {
        let parse = |text: &str| parse_json::<Value>(text.as_bytes());
        let text = r#"{"a": NaN, "b": [-Infinity, Infinity, -1], "NaN": "an \"NaN, \\", "c": "Infinity"}"#;
        let expected = json!({
            "a": "NaN", "b": ["-Infinity", "Infinity", -1], "NaN": "an \"NaN, \\", "c": "Infinity",
        });
        assert_eq!(parse(text).unwrap(), expected);
        assert!(parse("{\"a\": NaN, \"b\": \"").is_err() && parse("[NaNa]").is_err() && parse("[N]").is_err());
    }

    #[test]
    fn texts_of_other_encodings() {
        assert_eq!(decode_text(b"\xef\xbb\xbfna\xc3\xafve"), Ok("naïve"));
        let utf_16 = |text: &str, of: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(of).collect::<Vec<u8>>();
        for encoding in [u16::to_le_bytes, u16::to_be_bytes] {
            for content in ["{}", "\u{feff}{}", "\u{feff}東京"] {
                assert!(decode_text(&utf_16(content, encoding)).unwrap_err().contains("UTF-16"), "{content}");
            }
        }
        assert!(decode_text(b"latin: \xe9t\xe9").unwrap_err().contains("ends at byte 7"));
        assert_eq!([decode_text(b""), decode_text(b"x")], [Ok(""), Ok("x")]);
    }

    #[test]
    fn what_is_no_file_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |name: &str| read(&folder.path().join(name), 10).unwrap_err().to_string();
        fs::create_dir(folder.path().join("folder")).unwrap();
        assert!(message("folder").contains("it is a folder, and a file is needed"), "{}", message("folder"));
        assert!(message("absent").starts_with("cannot open"));
        assert!(!is_there(&folder.path().join("absent")).unwrap());
        fs::write(folder.path().join("long"), "12345678901").unwrap();
        assert!(message("long").contains("it has more than 10 bytes"));
        fs::write(folder.path().join("page"), "<!DOCTYPE>").unwrap();
        assert!(message("page").contains("a page of the web"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink("nowhere/x", folder.path().join("link")).unwrap();
            assert!(message("link").contains("it is a link to nowhere/x, which is not there"));
            assert!(is_there(&folder.path().join("link")).is_err());
            assert!(read(Path::new("/dev/null"), 10).unwrap_err().to_string().contains("it is a device"));
        }
    }
}
