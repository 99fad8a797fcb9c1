use proptest::prelude::*;

use super::*;

fn written(text: &str) -> String {
    let value = Value::parse(text).expect("JSON");
    String::from_utf8(value.write().to_vec()).expect("UTF-8")
}

fn error(text: &str) -> String {
    Value::parse(text).expect_err("no JSON").to_string()
}

#[test]
fn strings_are_written_as_they_are() {
    for (text, expected) in [
        (r#""""#, ""),
        (r#""plain""#, "plain"),
        (r#""a\"b\\c\/d\b\f\n\r\t""#, "a\"b\\c/d\u{8}\u{c}\n\r\t"),
        (r#""\u00e9\u20AC\ud83d\ude00é€😀""#, "é€😀é€😀"),
        (r#""\u0000""#, "\0"),
        (" \t\r\n\"x\"\n", "x"),
    ] {
        assert_eq!(written(text), expected, "{text}");
    }
}

#[test]
fn numbers_are_written_as_they_were() {
    for text in [
        "1.10",
        "123456789012345678901234567890",
        "-0",
        "0.0",
        "1E+400",
        "1e-7",
        "true",
        "null",
    ] {
        assert_eq!(written(text), text);
    }
}

#[test]
fn other_values_are_written_without_the_space_between_their_parts() {
    assert_eq!(
        written(" { \"a b\" : [ 1.10 , \" \\\" , \\\\\" , { } , [ ] ] ,\n\t\"c\":null } "),
        r#"{"a b":[1.10," \" , \\",{},[]],"c":null}"#
    );
}

#[test]
fn what_is_no_json_is_refused_with_line_and_column() {
    for (text, expected) in [
        ("", "line 1, column 1"),
        ("\u{feff}{}", "line 1, column 1"),
        ("{\"é\"\n: €}", "line 2, column 3"),
        ("{\"a\":1,}", "line 1, column 8"),
        ("{\"a\" 1}", "expected ':' at line 1, column 6"),
        ("[1 2]", "expected ',' or ']' at line 1, column 4"),
        (
            "\"abc",
            "expected '\"' at the end of a string at line 1, column 5",
        ),
        ("\"a\nb\"", "control character"),
        ("{} {}", "expected the end at line 1, column 4"),
        ("truex", "expected the end at line 1, column 5"),
        ("01", "expected the end"),
        ("1.", "expected a digit"),
        ("-", "expected a digit"),
        ("1e", "expected a digit"),
        ("+1", "expected a value"),
        ("NaN", "expected a value"),
        ("{a:1}", "a field's name in double quotes"),
    ] {
        assert!(error(text).contains(expected), "{text:?}: {}", error(text));
    }
}

#[test]
fn broken_escapes_are_refused() {
    for text in [
        r#""\x""#,
        r#""\é""#,
        r#""\u12""#,
        r#""\u+123""#,
        r#""\u00é""#,
        r#""\ud800""#,
        r#""\ud800\n""#,
        r#""\ud800\u0041""#,
        r#""\ud800\ud800""#,
        r#""\ud800\ue000""#,
        r#""\udc00""#,
        r#""\"#,
        r#""\u"#,
    ] {
        assert!(Value::parse(text).is_err(), "{text}");
    }
}

#[test]
fn nesting_has_a_limit() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(Value::parse(&nested(limits::JSON_DEPTH)).is_ok());
    assert!(error(&nested(limits::JSON_DEPTH + 1)).contains("no more than 32"));
    assert!(error(&"[".repeat(60_000)).contains("no more than 32"));
    assert!(error(&"{\"a\":".repeat(10_000)).contains("no more than 32"));
}

#[test]
fn length_has_a_limit() {
    assert!(Value::parse(&" ".repeat(limits::JSON_BYTES + 1)).is_err());
    let long = format!("\"{}\"", "x".repeat(limits::JSON_BYTES - 2));
    assert!(Value::parse(&long).is_ok());
}

#[test]
fn a_field_that_is_there_twice_is_seen_in_any_spelling() {
    for (text, twice) in [
        (r#"{}"#, false),
        (r#"{"a":1,"b":2,"A":3}"#, false),
        (r#"{"a":1,"b":2,"a":3}"#, true),
        (r#"{"a":1,"\u0061":1}"#, true),
    ] {
        let value = Value::parse(text).expect("JSON");
        let Kind::Object(fields) = value.kind() else {
            panic!("{text} is an object");
        };
        assert_eq!(has_field_twice(fields), twice, "{text}");
    }
}

#[test]
fn debug_prints_no_content() {
    let value = Value::parse("\"canary\"").expect("JSON");
    assert!(!format!("{value:?}").contains("canary"));
}

fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i64>().prop_map(serde_json::Value::from),
        any::<String>().prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            proptest::collection::btree_map(any::<String>(), inner, 0..6)
                .prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn pretty_json_is_written_compactly(value in any_json()) {
        let expected = match &value {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        prop_assert_eq!(written(&format!("{value:#}")), expected);
    }

    #[test]
    fn accepts_what_serde_json_accepts(
        text in r#"([\[\]{},:"\\ ]|\\u[dD][89abcdAB]0[0-9]|\\[bnu/x"]|"a"|é|[-+.eE0-9]|true|false|null|\n){0,24}"#
    ) {
        let ours = Value::parse(&text).is_ok();
        let theirs = match serde_json::from_str::<serde_json::Value>(&text) {
            Ok(_) => true,
            // The one thing that is refused there alone: a number that fits no f64.
            Err(error) => error.to_string().starts_with("number out of range"),
        };
        prop_assert_eq!(ours, theirs, "{}", text);
    }
}

proptest! {
    #[test]
    fn one_changed_character_is_judged_as_serde_json_does(
        value in any_json(),
        at in any::<proptest::sample::Index>(),
        with in proptest::sample::select(
            vec!["", "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", " ", "\n", "\\u00", "x"]
        ),
    ) {
        let mut text: Vec<char> = value.to_string().chars().collect();
        let at = at.index(text.len());
        text.splice(at..=at, with.chars());
        let text: String = text.into_iter().collect();
        let theirs = serde_json::from_str::<serde_json::Value>(&text);
        let ours = Value::parse(&text);
        match (&ours, &theirs) {
            (Ok(ours), Ok(serde_json::Value::String(theirs))) => {
                prop_assert_eq!(&ours.write()[..], theirs.as_bytes());
            }
            (Ok(_), Err(error)) => {
                prop_assert!(error.to_string().starts_with("number out of range"), "{}", text);
            }
            (Err(error), Ok(_)) => prop_assert!(false, "{}: {}", text, error),
            _ => {}
        }
    }
}
