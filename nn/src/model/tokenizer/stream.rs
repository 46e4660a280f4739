//! Text out of tokens as they come.

use super::Tokenizer;
use crate::error::Error;

/// What decoders put where bytes are no character.
const REPLACEMENT: char = '\u{fffd}';

/// Text out of tokens as they come.
///
/// A token can end within a character of several bytes. Such a token gives no text until the character is complete. All
/// pieces together, with the last of [`Self::finish`], are what [`Tokenizer::decode`] makes of all tokens.
pub struct TextStream<'a> {
    tokenizer: &'a Tokenizer,
    tokens: Vec<u32>,
    /// The text that has been given.
    given: String,
}

impl Tokenizer {
    /// A decoder of tokens that come one after the other.
    pub fn stream(&self) -> TextStream<'_> {
        TextStream { tokenizer: self, tokens: Vec::new(), given: String::new() }
    }
}

impl TextStream<'_> {
    /// The text that a token completes; empty if it ends within a character. O(tokens so far).
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn push(&mut self, token: u32) -> Result<String, Error> {
        self.tokens.push(token);
        let text = self.tokenizer.decode(&self.tokens)?;
        // The next token may complete what is no character yet. Byte tokens are decoded all or none, so that one that
        // comes can change the text of those before it.
        let last = self.tokens.iter().rev().find_map(|&token| self.tokenizer.spelling(token));
        let open = text.ends_with(REPLACEMENT) || last.is_some_and(|token| is_byte(&token));
        match text.strip_prefix(&self.given) {
            Some(new) if !open => {
                let new = new.to_owned();
                self.given = text;
                Ok(new)
            }
            _ => Ok(String::new()),
        }
    }

    /// The text that is left, with U+FFFD for bytes that are no character.
    ///
    /// # Errors
    /// As [`Tokenizer::decode`].
    pub fn finish(&mut self) -> Result<String, Error> {
        let text = self.tokenizer.decode(&self.tokens)?;
        // A decoder that takes back what it gave can only go on from where both agree.
        let same = |(a, b): &(char, char)| a == b;
        let common: usize =
            self.given.chars().zip(text.chars()).take_while(same).map(|(character, _)| character.len_utf8()).sum();
        let rest = text[common..].to_owned();
        self.given = text;
        Ok(rest)
    }
}

/// Whether a token stands for a byte, as `<0x0A>` does in vocabularies that fall back to bytes.
fn is_byte(token: &str) -> bool {
    let digits = token.strip_prefix("<0x").and_then(|rest| rest.strip_suffix('>'));
    digits.is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))
}
