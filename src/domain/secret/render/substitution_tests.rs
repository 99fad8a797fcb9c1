use proptest::prelude::*;

use super::*;

const ID: &str = "02fd6835-6001-4482-a892-13bd2085f75d";

fn view(payload: &[u8]) -> View<'_> {
    View {
        payload,
        id: ID,
        name: Some("orders db"),
        alias: Some("orders-db"),
    }
}

fn filled(template: &str, payload: &[u8]) -> Result<String, TemplateError> {
    let bytes = Template::parse(template)?.fill(Some(view(payload)))?;
    Ok(String::from_utf8(bytes.to_vec()).expect("templates make text"))
}

fn fails(template: &str, payload: &[u8]) -> TemplateError {
    filled(template, payload).expect_err("cannot be filled")
}

#[test]
fn what_a_template_may_see_takes_its_place() {
    for (template, expected) in [
        ("", ""),
        ("plain } }} text { é", "plain } }} text { é"),
        ("{{payload}}", "p@ss"),
        ("a{{ payload }}b{{\n\tpayload\r\n}}c", "ap@ssbp@ssc"),
        (
            "{{ key.name }}/{{ key.id }}/{{ key.alias }}",
            &format!("orders db/{ID}/orders-db"),
        ),
        (
            r#"{"auths":{"x":{{ payload }}}}"#,
            r#"{"auths":{"x":p@ss}}"#,
        ),
        ("{{ 'é\"' }}{{ \"it's\" }}", "é\"it's"),
        ("{{ '' }}", ""),
    ] {
        assert_eq!(
            filled(template, b"p@ss").as_deref(),
            Ok(expected),
            "{template}"
        );
    }
}

#[test]
fn a_literal_opening_is_written_as_a_quoted_text() {
    assert_eq!(
        filled("{{ '{{' }} payload }}", b"x").as_deref(),
        Ok("{{ payload }}")
    );
    assert_eq!(filled("{{'}}'}}", b"x").as_deref(), Ok("}}"));
}

#[test]
fn what_was_filled_in_is_not_read_as_a_template() {
    assert_eq!(
        filled("{{ payload }}", b"{{ key.id }}").as_deref(),
        Ok("{{ key.id }}")
    );
}

#[test]
fn filters_follow_each_other() {
    for (filters, payload, expected) in [
        ("urlencode", "a b/é~", "a%20b%2F%C3%A9~"),
        ("base64", "a\n", "YQo="),
        ("hex", "a\n", "610a"),
        ("trim", " \t\r\n a b \u{b}\u{c}\n", "a b \u{b}"),
        ("trim", "\u{a0}a\u{a0}", "\u{a0}a\u{a0}"),
        ("json('db.password')", r#"{"db":{"password":"a/b"}}"#, "a/b"),
        (
            "json ( \"a['x.y']\" )|urlencode",
            r#"{"a":{"x.y":"ä b"}}"#,
            "%C3%A4%20b",
        ),
        ("json('a')|json('b')", r#"{"a":"{\"b\":1.10}"}"#, "1.10"),
        ("trim|base64|hex", " a ", "59513d3d"),
        ("base64|urlencode", "a", "YQ%3D%3D"),
    ] {
        let template = format!("{{{{ payload | {filters} }}}}");
        assert_eq!(
            filled(&template, payload.as_bytes()).as_deref(),
            Ok(expected),
            "{template}"
        );
    }
    assert_eq!(
        filled("{{ key.name | urlencode }}{{ 'a' | hex }}", b"").as_deref(),
        Ok("orders%20db61")
    );
}

#[test]
fn a_payload_that_is_no_text_is_encoded_first() {
    assert_eq!(
        filled("{{ payload | base64 }}", &[0xff, 0]).as_deref(),
        Ok("/wA=")
    );
    assert_eq!(
        filled("{{ payload | hex }}", &[0xff, 0]).as_deref(),
        Ok("ff00")
    );
    assert_eq!(filled("{{ payload }}", &[0]).as_deref(), Ok("\0"));
    for (template, position) in [
        ("ä{{ payload }}", 5),
        ("ä{{ payload | trim }}", 15),
        ("ä{{ payload | urlencode | base64 }}", 15),
        ("ä{{ payload | json('a') }}", 15),
    ] {
        let error = fails(template, &[0xff, 0]);
        assert!(
            matches!(error.problem, Problem::NotText { .. }),
            "{error:?}"
        );
        assert_eq!(error.position, position, "{template}");
    }
}

#[test]
fn what_is_wrong_is_told_with_its_place_in_characters() {
    for (template, position, expected) in [
        ("{{", 3, HEADS),
        ("é€😀{{ }}", 7, HEADS),
        ("{{ nope }}", 4, HEADS),
        ("{{ Payload }}", 4, HEADS),
        ("{{ .payload }}", 4, HEADS),
        ("{{ key }}", 4, HEADS),
        ("{{ key.payload }}", 4, HEADS),
        ("{{{ payload }}}", 3, HEADS),
        ("{{ {{ payload }} }}", 4, HEADS),
        ("{{ payload", 11, "'|' and a filter, or '}}'"),
        ("{{ payload }", 12, "'|' and a filter, or '}}'"),
        ("{{ payload } }", 12, "'|' and a filter, or '}}'"),
        ("{{ payload base64 }}", 12, "'|' and a filter, or '}}'"),
        ("{{ payload | }}", 14, FILTERS),
        ("{{ payload || hex }}", 13, FILTERS),
        ("{{ payload | b64enc }}", 14, FILTERS),
        (
            "{{ payload | json }}",
            19,
            "a quoted path in parentheses, like ('db.password')",
        ),
        (
            "{{ payload | json(a) }}",
            19,
            "a quoted path in parentheses, like ('db.password')",
        ),
        ("{{ payload | json('a' }}", 23, "')'"),
        (
            "{{ payload | json('a }}",
            19,
            "a quotation mark at the end of the text that begins here",
        ),
        (
            "{{ 'é }}",
            4,
            "a quotation mark at the end of the text that begins here",
        ),
        (
            "{{ 'a\" }}",
            4,
            "a quotation mark at the end of the text that begins here",
        ),
    ] {
        let error = Template::parse(template).expect_err(template);
        assert_eq!(error.problem, Problem::Expected(expected), "{template}");
        assert_eq!(error.position, position, "{template}");
    }
}

#[test]
fn a_template_has_a_length() {
    assert!(Template::parse(&"x".repeat(limits::TEMPLATE_BYTES)).is_ok());
    let error = Template::parse(&"x".repeat(limits::TEMPLATE_BYTES + 1)).expect_err("too long");
    assert_eq!(error.problem, Problem::TemplateTooLong);
}

#[test]
fn a_template_has_so_many_substitutions_and_filters() {
    let many = |count: usize| "é{{ payload }}".repeat(count);
    assert!(Template::parse(&many(limits::SUBSTITUTIONS)).is_ok());
    let error = Template::parse(&many(limits::SUBSTITUTIONS + 1)).expect_err("too many");
    assert_eq!(error.problem, Problem::TooManySubstitutions);
    assert_eq!(error.position, 14 * limits::SUBSTITUTIONS + 2);

    let many = |count: usize| format!("{{{{ payload {} }}}}", "|hex".repeat(count));
    assert!(Template::parse(&many(limits::FILTERS)).is_ok());
    let error = Template::parse(&many(limits::FILTERS + 1)).expect_err("too many");
    assert_eq!(error.problem, Problem::TooManyFilters);
}

#[test]
fn the_output_has_a_length() {
    let half = vec![b'x'; limits::OUTPUT_BYTES / 2];
    assert!(filled("{{ payload | hex }}", &half).is_ok());
    assert!(filled("{{ payload }}{{ payload }}", &half).is_ok());
    for template in [
        "{{ payload | hex | hex }}",
        "{{ payload }}{{ payload }}.",
        "{{ payload | hex }}.",
    ] {
        assert_eq!(
            fails(template, &half).problem,
            Problem::OutputTooLong,
            "{template}"
        );
    }
}

#[test]
fn every_step_has_a_length() {
    let payload = vec![b'x'; limits::OUTPUT_BYTES / 2];
    let error = fails("{{ payload | hex | hex | hex }}", &payload);
    assert_eq!(
        (error.position, error.problem),
        (20, Problem::OutputTooLong)
    );
}

#[test]
fn what_is_not_known_of_a_key_is_not_made_up() {
    let view = View {
        name: None,
        alias: None,
        ..view(b"x")
    };
    for head in ["key.name", "key.alias"] {
        let template = Template::parse(&format!("ab{{{{ {head} }}}}")).expect("a template");
        let error = template.fill(Some(view)).expect_err("not known");
        assert!(matches!(error.problem, Problem::Unknown { what, .. } if what == head));
        assert_eq!(error.position, 6);
    }
}

#[test]
fn templates_that_mean_the_same_are_equal() {
    let parts = |text| Template::parse(text).expect("a template").parts;
    assert_eq!(parts("a{{ '{{' }}b"), parts("a{{'{{'}}{{'b'}}"));
    assert_eq!(parts("{{ '' }}"), parts(""));
    assert_ne!(parts("{{payload}}"), parts("payload"));
}

#[test]
fn a_template_says_what_it_sees() {
    for (text, key, name, alias) in [
        ("payload", false, false, false),
        ("{{ 'key.name' }}", false, false, false),
        ("{{ payload }}", true, false, false),
        ("{{ key.id }}", true, false, false),
        ("{{ payload }}{{ key.name }}", true, true, false),
        ("{{ key.alias }}", true, false, true),
    ] {
        let template = Template::parse(text).expect("a template");
        assert_eq!(
            (
                template.uses_key(),
                template.uses_name(),
                template.uses_alias()
            ),
            (key, name, alias),
            "{text}"
        );
    }
}

/// Pieces of templates, so that most of what is made goes far into the parser.
fn any_template() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        8 => proptest::sample::select(vec![
            "{{", "}}", "{{ ", " }}", "{", "}", "|", " | ", "payload", "key.name", "key.id",
            "key.alias", "json", "json('a')", "json(\"a[0].b\")", "('", "')", "'", "\"", "[", "]",
            "urlencode", "base64", "hex", "trim", "é", "😀", "\0", "\n", "text",
            "{{ payload }}", "{{ payload | json('a') }}", "{{ payload | hex }}", "{{ '{{' }}",
        ]).prop_map(str::to_owned),
        1 => "\\PC{0,8}",
    ];
    proptest::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
}

/// No piece of a template, and in every payload.
const CANARY: &str = "Q7Xv";

fn any_payload() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..64).prop_map(|mut bytes| {
            bytes.splice(0..0, CANARY.bytes());
            bytes
        }),
        "\\PC{0,20}".prop_map(|text| format!("{{\"a\":\"{CANARY}{text}\"}}").into_bytes()),
        Just(format!("{{\"a\":[{{\"b\":\"{CANARY}\"}}]}}").into_bytes()),
        Just(format!("{{\"{CANARY}\":1,\"{CANARY}\":2}}").into_bytes()),
        Just(CANARY.repeat(limits::OUTPUT_BYTES / 8).into_bytes()),
    ]
}

proptest! {
    #[test]
    fn any_template_ends_within_its_limits_and_tells_nothing(
        template in any_template(),
        payload in any_payload(),
    ) {
        match filled(&template, &payload) {
            Ok(text) => prop_assert!(text.len() <= limits::OUTPUT_BYTES),
            Err(error) => {
                prop_assert!(error.position <= template.chars().count() + 1);
                let error = error.in_entry("url");
                let text = format!("{error} {error:?}");
                prop_assert!(!text.contains(CANARY), "{}", text);
                prop_assert!(error.to_string().starts_with("entry url, template character "));
            }
        }
    }

    #[test]
    fn any_text_is_parsed_or_refused(template in any::<String>()) {
        let _result = Template::parse(&template);
    }

    #[test]
    fn text_without_an_opening_is_as_it_is(text in "[^{]{0,80}") {
        prop_assert_eq!(filled(&text, b"x"), Ok(text));
    }
}
