//! How large the settings of a tokenizer may make texts and lists of tokens.

use serde_json::Value;

/// How many times longer than a text what is made of it may become: as much as twenty steps make that each double it.
const MAX_GROWTH: usize = 1 << 20;
/// The most tokens that may be put around a text.
const MAX_AROUND: usize = 1 << 10;

/// Checks that the settings of a definition cannot make a text larger without bound; the error says which of them do.
pub(super) fn check(definition: &Value) -> Result<(), String> {
    for part in ["normalizer", "decoder"] {
        if growth(&definition[part]) > MAX_GROWTH {
            return Err(format!("its {part} can make a text more than {MAX_GROWTH} times longer; simplify its steps"));
        }
    }
    match around(&definition["post_processor"]) {
        count if count > MAX_AROUND => {
            Err(format!("its post_processor puts {count} tokens around each text; at most {MAX_AROUND} are possible"))
        }
        _ => Ok(()),
    }
}

/// An upper bound of how many times longer a step, or several one after the other, makes a text.
fn growth(step: &Value) -> usize {
    match step {
        Value::Array(steps) => steps.iter().map(growth).fold(1, usize::saturating_mul),
        Value::Object(fields) => {
            let content = |name| fields.get(name).and_then(Value::as_str).map_or(0, str::len);
            let own = match (fields.get("type").and_then(Value::as_str), fields.get("pattern")) {
                // A regular expression can match before each byte, and replace none.
                (Some("Replace"), Some(pattern)) => match pattern.get("String").and_then(Value::as_str) {
                    Some(replaced) if !replaced.is_empty() => content("content").div_ceil(replaced.len()),
                    _ => content("content") + 1,
                },
                (Some("Prepend"), _) => 1 + content("prepend"),
                _ => 1,
            };
            let nested = fields.values().filter(|value| value.is_array() || value.is_object());
            nested.map(growth).fold(own.max(1), usize::saturating_mul)
        }
        _ => 1,
    }
}

/// How many tokens a post-processor puts around a text, or the text again.
fn around(processor: &Value) -> usize {
    let steps = processor["processors"].as_array().into_iter().flatten();
    let nested = steps.map(around).fold(0, usize::saturating_add);
    let tokens = |piece: &Value| match piece["SpecialToken"]["id"].as_str() {
        Some(name) => processor["special_tokens"][name]["ids"].as_array().map_or(0, Vec::len),
        None => 1,
    };
    let pieces = processor["single"].as_array().into_iter().flatten();
    pieces.map(tokens).fold(nested, usize::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn steps_multiply() {
        let replace =
            |pattern: Value, content: &str| json!({"type": "Replace", "pattern": pattern, "content": content});
        let space = replace(json!({"String": " "}), "\u{2581}");
        let double = replace(json!({"Regex": "."}), "ab");
        let same = replace(json!({"String": "``"}), "\"\"");
        let sequence = |steps: Vec<&Value>| json!({"type": "Sequence", "normalizers": steps});
        assert_eq!(growth(&sequence(vec![&space, &double, &same])), 9);
        assert_eq!(growth(&json!({"type": "Prepend", "prepend": "abc"})), 4);
        let many = json!({"normalizer": sequence(vec![&double; 21]), "decoder": null});
        assert!(check(&many).unwrap_err().starts_with("its normalizer can make a text more than 1048576 times longer"));
        assert!(check(&json!({"normalizer": null, "decoder": sequence(vec![&same; 100])})).is_ok());
        let long = "x".repeat(1 << 21);
        assert!(check(&json!({"decoder": replace(json!({"String": "a"}), &long)})).is_err());
    }

    #[test]
    fn tokens_around_a_text_are_counted() {
        let ids: Vec<u32> = vec![0; 500];
        let piece = json!({"SpecialToken": {"id": "<s>", "type_id": 0}});
        let processor = |count: usize| {
            let single: Vec<&Value> = vec![&piece; count];
            json!({"type": "TemplateProcessing", "single": single, "special_tokens": {"<s>": {"ids": &ids}}})
        };
        assert!(check(&json!({"post_processor": processor(2)})).is_ok());
        let sequence = json!({"type": "Sequence", "processors": [processor(2), processor(1)]});
        assert!(check(&json!({"post_processor": sequence})).unwrap_err().contains("puts 1500 tokens around"));
    }
}
