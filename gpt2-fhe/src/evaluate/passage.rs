//! A text in pieces.

use nn::packed::Span;
use tfhe_core::random::SampleSeed;

/// Successive tokens of a text, and the rows whose predictions count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Passage {
    tokens: Vec<u32>,
    span: Span,
    /// The token after that of each row of the span.
    targets: Vec<u32>,
}

impl Passage {
    /// Tokens `start .. end` of a text that has more, where rows count from the one of token `first`.
    fn new(text: &[u32], start: usize, first: usize, end: usize) -> Self {
        let span = Span::new(first - start, end - start);
        Self { tokens: text[start..end].to_vec(), span, targets: text[first + 1..=end].to_vec() }
    }

    /// `[T]`.
    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    /// T, and the rows that count.
    pub fn span(&self) -> Span {
        self.span
    }

    /// What each row of the span should predict.
    pub fn targets(&self) -> &[u32] {
        &self.targets
    }
}

/// The text in windows of `length` tokens, all of whose rows count; the last may be shorter. The last token is only
/// predicted. With `positions`, only so many rows, the first.
///
/// # Errors
/// [`nn::Error::OutOfRange`] if there are fewer than two tokens, or `length` or `positions` is 0.
pub fn windows(text: &[u32], length: usize, positions: Option<usize>) -> Result<Vec<Passage>, nn::Error> {
    check(text, length, positions.unwrap_or(1))?;
    let end = positions.map_or(text.len() - 1, |positions| positions.min(text.len() - 1));
    let window = |start: usize| Passage::new(text, start, start, end.min(start + length));
    Ok((0..end).step_by(length).map(window).collect())
}

/// `count` of the positions of [`windows`], or all if there are no more, in order: each with the tokens of its window up
/// to it, and only its own row counts.
///
/// # Errors
/// As [`windows`].
pub fn sample(text: &[u32], length: usize, count: usize, seed: &SampleSeed) -> Result<Vec<Passage>, nn::Error> {
    check(text, length, count)?;
    let mut positions: Vec<usize> = (0..text.len() - 1).collect();
    shuffle(&mut positions, seed);
    positions.truncate(count);
    positions.sort_unstable();
    let passage = |position: usize| Passage::new(text, position - position % length, position, position + 1);
    Ok(positions.into_iter().map(passage).collect())
}

/// `count` positions, or all if there are no more, of [`windows`] that are drawn, in order: each with all its rows, but for the last that is
/// drawn, of which only the first may count.
///
/// # Errors
/// As [`windows`].
pub fn sample_windows(text: &[u32], length: usize, count: usize, seed: &SampleSeed) -> Result<Vec<Passage>, nn::Error> {
    check(text, length, count)?;
    let mut starts: Vec<usize> = (0..text.len() - 1).step_by(length).collect();
    shuffle(&mut starts, seed);
    let (mut left, mut passages) = (count, Vec::new());
    for start in starts {
        let end = (text.len() - 1).min(start + length.min(left));
        if end > start {
            passages.push((start, Passage::new(text, start, start, end)));
            left -= end - start;
        }
    }
    passages.sort_unstable_by_key(|(start, _)| *start);
    Ok(passages.into_iter().map(|(_, passage)| passage).collect())
}

fn check(text: &[u32], length: usize, positions: usize) -> Result<(), nn::Error> {
    let at_least = [
        ("the number of tokens of the text", text.len(), 2),
        ("the number of tokens of a window", length, 1),
        ("the number of positions", positions, 1),
    ];
    match at_least.into_iter().find(|(_, found, least)| found < least) {
        None => Ok(()),
        Some((what, found, least)) => Err(nn::Error::OutOfRange {
            what: what.into(),
            found: found.to_string(),
            allowed: format!("at least {least}"),
        }),
    }
}

/// Puts the values into a random order (Fisher and Yates), drawn from stream 0 of `seed`.
pub(super) fn shuffle<T>(values: &mut [T], seed: &SampleSeed) {
    let mut generator = seed.stream(0);
    for last in (1..values.len()).rev() {
        // The remainder's bias is below 2^-32 for fewer than 2^32 values.
        values.swap(last, (generator.uniform() % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_predict_every_token_but_the_first_once() {
        let text: Vec<u32> = (10..20).collect();
        let passages = windows(&text, 4, None).unwrap();
        let tokens: Vec<&[u32]> = passages.iter().map(Passage::tokens).collect();
        assert_eq!(tokens, [&[10, 11, 12, 13][..], &[14, 15, 16, 17], &[18]]);
        let targets: Vec<u32> = passages.iter().flat_map(|passage| passage.targets().to_vec()).collect();
        assert_eq!(targets, (11..20).collect::<Vec<_>>());
        let limited = windows(&text, 4, Some(5)).unwrap();
        assert_eq!(limited.iter().map(|passage| passage.span().rows().len()).collect::<Vec<_>>(), [4, 1]);
    }

    #[test]
    fn sampled_positions_have_what_is_before_them_in_their_window() {
        let text: Vec<u32> = (10..20).collect();
        let seed = SampleSeed::from_number(1);
        let all = sample(&text, 4, 99, &seed).unwrap();
        assert_eq!(all.len(), 9);
        assert_eq!((all[5].tokens(), all[5].targets()), (&[14, 15][..], &[16][..]));
        assert_eq!(all[5].span(), Span::new(1, 2));
        let some = sample(&text, 4, 3, &seed).unwrap();
        assert!(some.len() == 3 && some.iter().all(|passage| all.contains(passage)));
    }

    #[test]
    fn sampled_windows_count_with_all_their_rows() {
        let text: Vec<u32> = (10..20).collect();
        let all = windows(&text, 4, None).unwrap();
        let seed = SampleSeed::from_number(1);
        assert_eq!(sample_windows(&text, 4, 99, &seed).unwrap(), all);
        let some = sample_windows(&text, 4, 6, &seed).unwrap();
        assert_eq!(some.iter().map(|passage| passage.span().rows().len()).sum::<usize>(), 6);
        let begins = |passage: &Passage| all.iter().any(|window| window.tokens().starts_with(passage.tokens()));
        assert!(some.iter().all(begins), "{some:?}");
    }

    #[test]
    fn nonsense_is_refused() {
        let seed = SampleSeed::from_number(1);
        assert!(windows(&[1], 4, None).is_err() && windows(&[1, 2], 0, None).is_err());
        assert!(windows(&[1, 2], 4, Some(0)).is_err() && sample(&[1, 2], 4, 0, &seed).is_err());
    }
}
