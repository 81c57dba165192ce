//! All manifests of one overlay, together with the Secrets that are made elsewhere.

use std::fmt;

use serde::Deserialize as _;
use serde_json::Value;

use crate::{Object, Secrets, Workload};

/// Rendered manifests that could not be read.
#[derive(Debug)]
pub struct ParseError {
    /// Which document, counted from one.
    pub document: usize,
    /// What is wrong with it: a key that stands twice, for example.
    pub why: String,
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "document {}: {}", self.document, self.why)
    }
}

impl std::error::Error for ParseError {}

/// The rendered manifests of one overlay.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// Which overlay: `laptop`, say.
    pub overlay: String,
    /// Its objects, in the order in which they were rendered.
    pub objects: Vec<Object>,
    /// The Secrets that a script makes for this overlay.
    pub secrets: Secrets,
}

/// Reads YAML documents one after another. A key that stands twice in a mapping is an error, unlike in most readers.
///
/// # Errors
/// When one of them is not YAML.
pub fn parse_documents(yaml: &str) -> Result<Vec<Value>, ParseError> {
    let mut values = Vec::new();
    for (index, document) in serde_yaml_ng::Deserializer::from_str(yaml).enumerate() {
        let failed = |why: String| ParseError {
            document: index + 1,
            why,
        };
        let value = serde_yaml_ng::Value::deserialize(document).map_err(|error| failed(error.to_string()))?;
        let value = serde_json::to_value(value).map_err(|error| failed(error.to_string()))?;
        if !value.is_null() {
            values.push(value);
        }
    }
    Ok(values)
}

impl Bundle {
    /// Reads what `kubectl kustomize` has rendered.
    ///
    /// # Errors
    /// When it is not YAML.
    pub fn parse(overlay: &str, yaml: &str, secrets: Secrets) -> Result<Self, ParseError> {
        Ok(Self {
            overlay: overlay.to_owned(),
            objects: parse_documents(yaml)?.into_iter().map(Object::new).collect(),
            secrets,
        })
    }

    /// All objects of a kind.
    pub fn of_kind<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a Object> {
        self.objects.iter().filter(move |object| object.kind() == kind)
    }

    /// One object, if it is there.
    pub fn find(&self, kind: &str, name: &str) -> Option<&Object> {
        self.objects
            .iter()
            .find(|object| object.kind() == kind && object.name() == name)
    }

    /// Everything that runs pods.
    pub fn workloads(&self) -> impl Iterator<Item = Workload<'_>> {
        self.objects.iter().filter_map(Object::workload)
    }
}
