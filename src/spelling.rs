//! "Did you mean …?": the known word that is nearest to the one that was written.

/// The nearest of `known`, if it is near enough to be what was meant.
pub fn nearest<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    /// A hundred thousand rules may have names, and each of a thousand errors asks for the nearest.
    const WORDS_MAX: usize = 1_000;
    /// Longer words are nobody's typing error, and the distance costs their product.
    const CHARS_MAX: usize = 64;
    let written: Vec<char> = written.chars().take(CHARS_MAX + 1).flat_map(char::to_lowercase).collect();
    if written.is_empty() || written.len() > CHARS_MAX {
        return None;
    }
    // A third of the letters may be wrong, one in short words: more, and everything resembles everything.
    let allowed = (written.len() / 3).max(1).min(written.len() - 1);
    known
        .into_iter()
        .take(WORDS_MAX)
        .map(|word| (distance(&written, word), word))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, word)| word)
}

/// The same as a sentence for a help text.
pub fn did_you_mean<'k>(written: &str, known: impl IntoIterator<Item = &'k str>) -> Option<String> {
    nearest(written, known).map(|word| format!("did you mean `{word}`?"))
}

/// Letters to insert, remove, replace or swap with their neighbour to get from one word to the other.
fn distance(written: &[char], word: &str) -> usize {
    let word: Vec<char> = word.chars().flat_map(char::to_lowercase).collect();
    let mut older = Vec::new();
    let mut last: Vec<usize> = (0..=word.len()).collect();
    for (i, letter) in written.iter().enumerate() {
        let mut row = vec![i + 1; word.len() + 1];
        for (j, other) in word.iter().enumerate() {
            let replaced = last[j] + usize::from(letter != other);
            row[j + 1] = replaced.min(last[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && written[i - 1] == *other && word[j - 1] == *letter {
                row[j + 1] = row[j + 1].min(older[j - 1] + 1);
            }
        }
        older = std::mem::replace(&mut last, row);
    }
    last[word.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typing_errors_find_their_word() {
        let known = ["limits", "rate_limit", "descriptors", "value", "values", "key", "minute", "month", "retry_after"];
        for (written, meant) in [
            ("limit", Some("limits")),
            ("limist", Some("limits")),
            ("descriptor", Some("descriptors")),
            ("Values", Some("values")),
            ("kye", Some("key")),
            ("minuets", Some("minute")),
            ("x", None),
            ("", None),
            ("completely_else", None),
            ("retry-after", Some("retry_after")),
            ("retryafter", Some("retry_after")),
        ] {
            assert_eq!(nearest(written, known), meant, "{written}");
        }
        assert_eq!(nearest(&"a".repeat(1_000_000), known), None);
    }
}
