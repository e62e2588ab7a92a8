//! Values and the types of their users.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::json;
use unisono_proto::Value;
use unisono_proto::limits::MAX_JSON_DEPTH;
use unisono_proto::value::{Binary, ValueError, from_args, from_value, to_args, to_value};

/// There and back, and the same as through JSON text. (Its maps are sorted, so the structs here are too.)
fn check<T: Serialize + DeserializeOwned + PartialEq + Debug>(
    data: T,
    expected: serde_json::Value,
) {
    let value = to_value(&data).unwrap();
    assert_eq!(value, Value::from(expected.clone()));
    assert_eq!(from_value::<T>(value.clone()).as_ref(), Ok(&data));
    assert_eq!(serde_json::to_value(&value).unwrap(), expected);
    assert_eq!(serde_json::from_value::<Value>(expected).unwrap(), value);
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Track {
    artist: Option<String>,
    #[serde(rename = "durationMs")]
    duration_ms: u32,
    tags: Vec<char>,
    title: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Command {
    Stop,
    Seek(u64),
    Move(i8, i8),
    Play { at: f64 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Tagged {
    Offer {
        sdp: String,
    },
    #[serde(untagged)]
    Other(i64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Meters(f32);

#[test]
fn types_there_and_back() {
    check(true, json!(true));
    check(-5i8, json!(-5));
    check(u64::from(u32::MAX), json!(4_294_967_295u64));
    check(0.1f32, json!(0.1));
    check(Meters(2.5), json!(2.5));
    check('é', json!("é"));
    check((), json!(null));
    check(Some(1), json!(1));
    check(None::<i32>, json!(null));
    check((1, "a".to_owned()), json!([1, "a"]));
    let track = Track {
        title: "a".into(),
        duration_ms: 7,
        artist: None,
        tags: vec!['x'],
    };
    check(
        track,
        json!({"title": "a", "durationMs": 7, "artist": null, "tags": ["x"]}),
    );
    check(
        vec![
            Command::Stop,
            Command::Seek(3),
            Command::Move(-1, 1),
            Command::Play { at: 0.5 },
        ],
        json!(["Stop", {"Seek": 3}, {"Move": [-1, 1]}, {"Play": {"at": 0.5}}]),
    );
    check(
        vec![Tagged::Offer { sdp: "s".into() }, Tagged::Other(4)],
        json!([{"kind": "offer", "sdp": "s"}, 4]),
    );
    check(
        BTreeMap::from([(1u8, true), (2, false)]),
        json!({"1": true, "2": false}),
    );
    check(BTreeMap::from([(true, 'x')]), json!({"true": "x"}));
}

#[test]
fn javascript_numbers_fit_integer_fields() {
    assert_eq!(from_value::<u32>(Value::Float(3.0)), Ok(3));
    assert!(from_value::<u32>(Value::Float(3.5)).is_err());
    assert!(from_value::<u8>(Value::Int(256)).is_err());
    assert_eq!(from_value::<f64>(Value::Int(3)), Ok(3.0));
    assert_eq!(to_value(&u64::MAX), Ok(Value::Float(u64::MAX as f64)));
}

#[test]
fn bytes_stay_bytes() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Cover {
        jpeg: Binary,
        raw: Value,
    }
    let bytes = Bytes::from_static(&[1, 2]);
    let cover = Cover {
        jpeg: Binary(bytes.clone()),
        raw: Value::Bin(bytes.clone()),
    };
    let value = to_value(&cover).unwrap();
    assert_eq!(value.get("jpeg"), Some(&Value::Bin(bytes.clone())));
    assert_eq!(value.get("raw"), Some(&Value::Bin(bytes.clone())));
    assert_eq!(from_value::<Cover>(value), Ok(cover));
    assert_eq!(
        from_value::<Binary>(vec![Value::Int(1), Value::Int(2)].into()),
        Ok(Binary(bytes))
    );
    assert!(from_value::<Binary>(vec![Value::Int(256)].into()).is_err());
    assert!(from_value::<Binary>("text".into()).is_err());
}

#[test]
fn missing_arguments() {
    assert_eq!(from_value::<Option<Track>>(Value::Null), Ok(None));
    assert_eq!(from_value::<()>(Value::Null), Ok(()));
    assert_eq!(from_value::<Value>(Value::Null), Ok(Value::Null));
    assert!(from_value::<Track>(Value::Null).is_err());
}

/// Error texts may be logged: they name fields and types, never the contents of a text.
#[test]
fn errors_say_what_was_expected() {
    let check = |json: serde_json::Value, expected: &str| {
        assert_eq!(
            from_value::<Track>(json.into()).unwrap_err().to_string(),
            expected
        );
    };
    check(json!({"title": "a"}), "missing field `durationMs`");
    check(json!([1]), "an integer instead of a string");
    check(json!(7), "an integer instead of struct Track");
}

#[test]
fn errors_repeat_nothing_of_what_a_peer_has_sent() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code, reason = "only read")]
    struct Strict {
        name: String,
        kind: Kind,
        at: u8,
    }
    #[derive(Debug, Deserialize)]
    enum Kind {
        Guest,
    }
    const SECRET: &str = "s3cret-7777";
    for json in [
        json!(SECRET),
        json!({ "name": 7777, "kind": "Guest", "at": 1 }),
        json!({ "name": "", "kind": SECRET, "at": 1 }),
        json!({ "name": "", "kind": { SECRET: 1 }, "at": 1 }),
        json!({ "name": "", "kind": "Guest", "at": SECRET }),
        json!({ "name": "", "kind": "Guest", "at": 7777 }),
        json!({ "name": "", "kind": "Guest", "at": 7777.5 }),
        json!({ "name": "", "kind": "Guest", "at": [SECRET] }),
        json!({ SECRET: 1 }),
        json!([SECRET, SECRET, SECRET]),
    ] {
        let shown = json.to_string();
        let error = from_value::<Strict>(json.into()).unwrap_err();
        let error = format!("{error} {error:?}");
        assert!(!error.contains("7777"), "{shown}: {error}");
    }
}

#[test]
fn arguments() {
    #[derive(Serialize)]
    struct Pair(i32, &'static str);
    let check = |actual: Result<Vec<Value>, ValueError>, expected: serde_json::Value| {
        assert_eq!(Value::from(actual.unwrap()), Value::from(expected));
    };
    check(to_args(&()), json!([]));
    check(to_args(&(1,)), json!([1]));
    check(to_args(&(1, "a", [2, 3])), json!([1, "a", [2, 3]]));
    check(to_args(&Pair(1, "a")), json!([1, "a"]));
    check(to_args(&Some((1, 2))), json!([1, 2]));
    check(to_args(&None::<i32>), json!([null]));
    check(to_args(&vec![1, 2]), json!([[1, 2]]));
    check(to_args("a"), json!(["a"]));
    check(to_args(&((),)), json!([null]));
    check(to_args(&((1, 2),)), json!([[1, 2]]));
    check(to_args(&Command::Move(1, 2)), json!([{"Move": [1, 2]}]));
    check(to_args(&json!({"a": 1})), json!([{"a": 1}]));
}

#[test]
fn depth_is_bounded_both_ways() {
    #[derive(Serialize, Deserialize)]
    struct Nested(Option<Box<(Nested,)>>);
    let nested = |depth| (0..depth).fold(Nested(None), |inner, _| Nested(Some(Box::new((inner,)))));
    assert!(to_value(&nested(MAX_JSON_DEPTH)).is_ok());
    assert_eq!(
        to_value(&nested(MAX_JSON_DEPTH + 1)),
        Err(ValueError::TooDeep)
    );
    assert_eq!(to_value(&nested(10_000)), Err(ValueError::TooDeep));
    let text = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    assert!(serde_json::from_str::<Value>(&text(MAX_JSON_DEPTH)).is_ok());
    assert!(serde_json::from_str::<Value>(&text(MAX_JSON_DEPTH + 1)).is_err());
    let deep = (0..=MAX_JSON_DEPTH).fold(Value::Null, |inner, _| Value::Array(vec![inner]));
    assert!(serde_json::to_string(&deep).is_err());
}

#[test]
fn map_keys() {
    assert_eq!(
        to_value(&BTreeMap::from([(vec![1], 1)])),
        Err(ValueError::Key)
    );
    assert!(from_value::<BTreeMap<u8, i32>>(json!({"x": 1}).into()).is_err());
}

#[test]
fn what_a_newtype_and_an_option_spread_is_read_back() {
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Named((String, u8));
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Single(String);
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Around(Option<Named>);
    fn there_and_back<T: Serialize + DeserializeOwned + PartialEq + Debug>(value: T) {
        let args = to_args(&value).unwrap();
        assert_eq!(from_args::<T>(args), Ok(value));
    }
    let pair = || ("a".to_owned(), 1_u8);
    there_and_back(pair());
    there_and_back(Named(pair()));
    there_and_back(Some(pair()));
    there_and_back(None::<(String, u8)>);
    there_and_back(Around(Some(Named(pair()))));
    there_and_back(Around(None));
    there_and_back(Single("a".to_owned()));
    there_and_back(Some(Single("a".to_owned())));
    there_and_back(None::<String>);
    // What comes behind is ignored, and what does not come is null.
    let args = vec![Value::Null, Value::Int(1)];
    assert_eq!(from_args::<Option<String>>(args), Ok(None));
    assert_eq!(from_args::<Option<(u8, u8)>>(Vec::new()), Ok(None));
}
