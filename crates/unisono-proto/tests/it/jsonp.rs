//! Polling by scripts and forms.

use unisono_proto::engine::jsonp::{decode, encode};

/// The scripts are those of Node's server.
#[test]
fn a_script_is_one_call_with_one_literal() {
    let check = |j: &str, payload: &str, script: &str| assert_eq!(encode(j, payload), script);
    check("27", "2:40", r#"___eio[27]("2:40");"#);
    check("2x7", "", r#"___eio[27]("");"#);
    check("", "6", r#"___eio[]("6");"#);
    check("0](alert(1));//", "6", r#"___eio[01]("6");"#);
    check("٣", "6", r#"___eio[]("6");"#);
    check(
        "0",
        "42[\"a\\n\"]\u{1e}2\u{2028}\u{2029}\n</script>é😀",
        r#"___eio[0]("42[\"a\\n\"]\u001e2\u2028\u2029\n</script>é😀");"#,
    );
}

#[test]
fn a_form_gives_back_what_the_client_escaped() {
    let check =
        |form: &str, payload: Option<&str>| assert_eq!(decode(form).as_deref(), payload, "{form}");
    check("d=2%3A40", Some("2:40"));
    check("d=4+a%2Bb", Some("4 a+b"));
    check("d=", Some(""));
    check("d", Some(""));
    check("", None);
    check("e=1", None);
    check("d=1&x=2&d=3", Some("3"));
    check("d=%F0%9F%98%80", Some("😀"));
    check("d=%FF", Some("\u{fffd}"));
    // As the stock client of version 2 writes them.
    for payload in [
        "a\nb",
        "a\\nb",
        "a\\\\nb",
        "\\",
        "\\\\",
        "n",
        "\n\\n\n",
        "[\"\\\\\\n\"]",
    ] {
        let escaped = payload.replace("\\n", "\\\n").replace('\n', "\\n");
        let form: String = escaped.bytes().map(|byte| format!("%{byte:02x}")).collect();
        check(&format!("d={form}"), Some(payload));
    }
}
