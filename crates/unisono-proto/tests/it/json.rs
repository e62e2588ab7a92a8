//! JSON texts.

use bytes::Bytes;
use unisono_proto::Value;
use unisono_proto::limits::{MAX_JSON_DEPTH, MAX_JSON_VALUES};
use unisono_proto::value::{JsonError, from_json};

fn check(text: &str, expected: impl Into<Value>) {
    assert_eq!(from_json(text, &[]), Ok(expected.into()), "{text}");
}

fn refused(text: &str, at: usize) {
    assert_eq!(
        from_json(text, &[]),
        Err(JsonError::Syntax { at }),
        "{text}"
    );
}

#[test]
fn numbers() {
    check("0", 0);
    check("-0", 0);
    check("-12", -12);
    check("9223372036854775807", i64::MAX);
    check("-9223372036854775808", i64::MIN);
    check("9223372036854775808", 9_223_372_036_854_775_808.0);
    check("1.0", 1.0);
    check("1.5e3", 1500.0);
    check("1E-2", 0.01);
    check("1e400", f64::INFINITY);
    for (text, at) in [
        ("01", 1),
        ("-", 1),
        ("+1", 0),
        (".5", 0),
        ("1.", 2),
        ("1e", 2),
        ("1e+", 3),
        ("0x1", 1),
        ("1 2", 2),
    ] {
        refused(text, at);
    }
}

#[test]
fn strings() {
    check(r#""""#, "");
    check(r#""é😀""#, "é😀");
    check(
        r#""\"\\\/\b\f\n\r\t\u0041\u00e9""#,
        "\"\\/\u{8}\u{c}\n\r\tAé",
    );
    check(r#""a\ud83d\ude00b""#, "a😀b");
    // Lone surrogates, as a text that was cut in the middle of an emoji has them.
    check(r#""a\ud83d""#, "a\u{fffd}");
    check(r#""\ude00\ud83dx""#, "\u{fffd}\u{fffd}x");
    check(r#""\ud83d\u0041""#, "\u{fffd}A");
    check(r#""\ud83d\ud83d\ude00""#, "\u{fffd}😀");
    for (text, at) in [
        ("\"a", 2),
        (r#""\x""#, 1),
        (r#""\u12g4""#, 1),
        (r#""\u123"#, 1),
        ("\"\n\"", 1),
        ("\"\u{0}\"", 1),
    ] {
        refused(text, at);
    }
}

#[test]
fn structures() {
    check(" [ ] ", Vec::new());
    check("\t[1 ,\r\n2]", vec![Value::Int(1), Value::Int(2)]);
    check(r#"{"b":1,"a":[null,true,false]}"#, serde_json_map());
    check("{}", Value::Map(vec![]));
    for (text, at) in [
        ("", 0),
        (" ", 1),
        ("[", 1),
        ("[1", 2),
        ("[1,", 3),
        ("[,1]", 1),
        ("{1:2}", 1),
        (r#"{"a"}"#, 4),
        (r#"{"a":1,}"#, 7),
        ("nul", 0),
        ("truer", 4),
        ("[1]]", 3),
        ("\u{feff}1", 0),
    ] {
        refused(text, at);
    }
}

fn serde_json_map() -> Value {
    let list = vec![Value::Null, true.into(), false.into()];
    Value::Map(vec![("b".into(), 1.into()), ("a".into(), list.into())])
}

#[test]
fn duplicate_keys_count_last() {
    check(
        r#"{"a":1,"b":2,"a":3}"#,
        Value::Map(vec![("a".into(), 3.into()), ("b".into(), 2.into())]),
    );
    let hand_made = Value::Map(vec![("a".into(), 1.into()), ("a".into(), 2.into())]);
    assert_eq!(hand_made.get("a"), Some(&Value::Int(2)));
}

#[test]
fn bounds() {
    let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(from_json(&nested(MAX_JSON_DEPTH), &[]).is_ok());
    assert_eq!(
        from_json(&nested(MAX_JSON_DEPTH + 1), &[]),
        Err(JsonError::TooDeep)
    );
    assert_eq!(
        from_json(&"{\"a\":".repeat(1_000_000), &[]),
        Err(JsonError::TooDeep)
    );
    let list = |values: usize| format!("[{}0]", "0,".repeat(values - 2));
    assert!(from_json(&list(MAX_JSON_VALUES), &[]).is_ok());
    assert_eq!(
        from_json(&list(MAX_JSON_VALUES + 1), &[]),
        Err(JsonError::TooManyValues)
    );
}

#[test]
fn attachments_take_the_place_of_their_placeholders() {
    let bytes = [Bytes::from_static(b"x"), Bytes::from_static(b"y")];
    let text = r#"[{"_placeholder":true,"num":1},{"_placeholder":true,"num":0}]"#;
    let expected = vec![Value::Bin(bytes[1].clone()), Value::Bin(bytes[0].clone())];
    assert_eq!(from_json(text, &bytes), Ok(expected.into()));
    assert_eq!(from_json(text, &bytes[..1]), Err(JsonError::Placeholder));
}
