//! Everything that is deployed, read from the checkout.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

/// The manifests, their kustomization and the image's recipe.
pub(super) struct Bundle {
    /// Names of the YAML files in `kubernetes/`, the kustomization excepted.
    pub(super) files: Vec<String>,
    /// `kustomization.yaml`, with its unknown keys refused.
    pub(super) kustomization: Kustomization,
    /// Each object of each file.
    pub(super) objects: Vec<Object>,
    /// Text of the `Dockerfile`.
    pub(super) dockerfile: String,
}

/// The part of a kustomization that this project uses; a misspelt key is an error.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Kustomization {
    #[serde(rename = "apiVersion")]
    pub(super) api_version: String,
    pub(super) kind: String,
    pub(super) namespace: String,
    pub(super) resources: Vec<String>,
    pub(super) replacements: Vec<Value>,
}

/// One YAML document.
#[derive(Clone)]
pub(super) struct Object {
    /// File it stands in, without directory.
    pub(super) file: String,
    /// The document.
    pub(super) body: Value,
}

impl Bundle {
    /// Reads the checkout; a file that is no YAML fails the test with its name.
    pub(super) fn load() -> Self {
        let root = root();
        let mut texts = yaml_texts(&root.join("kubernetes"));
        let kustomization = texts
            .remove("kustomization.yaml")
            .expect("kubernetes/kustomization.yaml exists");
        let objects = texts
            .iter()
            .flat_map(|(file, text)| parse(file, text))
            .collect();
        Bundle {
            files: texts.keys().cloned().collect(),
            kustomization: serde_yaml_ng::from_str(&kustomization)
                .unwrap_or_else(|error| panic!("kustomization.yaml: {error}")),
            objects,
            dockerfile: read(&root.join("Dockerfile")),
        }
    }

    /// The object of this kind and name.
    pub(super) fn get(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects
            .iter()
            .find(|object| object.kind() == kind && object.name() == name)
    }

    /// All objects of this kind.
    pub(super) fn all<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects
            .iter()
            .filter(move |object| object.kind() == kind)
    }

    /// Objects that have a pod template.
    pub(super) fn workloads(&self) -> impl Iterator<Item = &Object> {
        self.objects
            .iter()
            .filter(|object| !object.at("/spec/template").is_null())
    }
}

impl Object {
    pub(super) fn kind(&self) -> &str {
        self.text("/kind")
    }

    pub(super) fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// The value at a JSON pointer; null when there is none.
    pub(super) fn at(&self, pointer: &str) -> &Value {
        at(&self.body, pointer)
    }

    /// The text at a JSON pointer; empty when there is none.
    pub(super) fn text(&self, pointer: &str) -> &str {
        text(&self.body, pointer)
    }

    /// The containers of the pod template.
    pub(super) fn containers(&self) -> &[Value] {
        list(&self.body, "/spec/template/spec/containers")
    }

    /// `file: Kind name`, to begin a sentence with.
    pub(super) fn title(&self) -> String {
        format!("{}: {} {}", self.file, self.kind(), self.name())
    }
}

/// The value at a JSON pointer; null when there is none.
pub(super) fn at<'a>(value: &'a Value, pointer: &str) -> &'a Value {
    value.pointer(pointer).unwrap_or(&Value::Null)
}

/// The text at a JSON pointer; empty when there is none.
pub(super) fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    at(value, pointer).as_str().unwrap_or_default()
}

/// The array at a JSON pointer; empty when there is none.
pub(super) fn list<'a>(value: &'a Value, pointer: &str) -> &'a [Value] {
    at(value, pointer)
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default()
}

/// All documents of one file. A key that stands twice is an error: YAML readers disagree about which one counts.
pub(super) fn parse(file: &str, source: &str) -> Vec<Object> {
    serde_yaml_ng::Deserializer::from_str(source)
        .map(|document| {
            let yaml = serde_yaml_ng::Value::deserialize(document)
                .unwrap_or_else(|error| panic!("{file}: {error}"));
            let body = serde_json::to_value(yaml).unwrap_or_else(|error| panic!("{file}: {error}"));
            Object {
                file: file.to_owned(),
                body,
            }
        })
        .collect()
}

/// The text of a file, by its path in the checkout.
pub(super) fn document(path: &str) -> String {
    read(&root().join(path))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn yaml_texts(directory: &Path) -> BTreeMap<String, String> {
    let entries = std::fs::read_dir(directory)
        .unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    entries
        .map(|entry| {
            entry
                .expect("directory entries of the checkout can be read")
                .path()
        })
        .filter(|path| {
            path.extension()
                .is_some_and(|end| end == "yaml" || end == "yml")
        })
        .map(|path| {
            let name = path
                .file_name()
                .expect("an entry of a directory has a name");
            (name.to_string_lossy().into_owned(), read(&path))
        })
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[test]
#[should_panic(expected = "duplicate entry")]
fn a_key_that_stands_twice_is_refused() {
    parse("twice.yaml", "kind: Service\nkind: Secret\n");
}

#[test]
fn a_misspelt_kustomization_key_is_refused() {
    let source = "apiVersion: v\nkind: Kustomization\nnamespace: n\nresource: []\nresources: []\nreplacements: []\n";
    let error = serde_yaml_ng::from_str::<Kustomization>(source).err();
    assert!(
        error
            .expect("`resource` is no key")
            .to_string()
            .contains("unknown field `resource`")
    );
}
