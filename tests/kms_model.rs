//! The service's model says what AWS's own says: operations, members, which are required, their bounds, and
//! errors. AWS's comes from botocore (`scripts/lib/kms_model.py`).

#![allow(clippy::unwrap_used, reason = "tests")]

use kmsfs::api::model::{ANY, Member, Operation, Shape};
use kmsfs::api::operations::{NOT_SERVED, SERVED};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Errors about things that this service does not have: keys in an HSM cluster or outside of AWS.
const NOT_OURS: &[&str] = &["CloudHsm", "CustomKeyStore", "IncorrectTrustAnchor", "Xks"];

/// What the fetching program ends with if there is no network.
const UNAVAILABLE: i32 = 75;

/// Tells the person who runs the test, also when it passes.
fn say(text: std::fmt::Arguments<'_>) {
    let _ = writeln!(std::io::stderr(), "    [kms_model] {text}");
}

/// AWS's model; `None` where it cannot be had.
fn model() -> Option<Value> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/lib/kms_model.py");
    let output = Command::new("python3").arg(script).stderr(Stdio::inherit()).output();
    let output = output.expect("python3 runs");
    if output.status.code() == Some(UNAVAILABLE) {
        return None;
    }
    assert!(output.status.success(), "{}", output.status);
    let path = String::from_utf8(output.stdout).unwrap();
    Some(serde_json::from_slice(&std::fs::read(path.trim_end()).unwrap()).unwrap())
}

/// Where two models differ, in words.
struct Comparison<'m> {
    shapes: &'m Value,
    differences: Vec<String>,
    members: usize,
}

impl Comparison<'_> {
    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, place: &str, what: &str, ours: T, theirs: T) {
        if ours != theirs {
            self.differences.push(format!("{place}: {what} is {ours:?}, and {theirs:?} in AWS's model"));
        }
    }

    fn operation(&mut self, ours: &Operation, theirs: &Value) {
        for (what, members) in [("input", ours.input), ("output", ours.output)] {
            let place = format!("{} {what}", ours.name);
            match theirs[what]["shape"].as_str() {
                Some(shape) => self.structure(&place, members, shape),
                None => self.expect(&place, "number of members", members.len(), 0),
            }
        }
        let errors =
            theirs["errors"].as_array().unwrap().iter().map(|error| error["shape"].as_str().unwrap());
        let errors: BTreeSet<_> =
            errors.filter(|error| !NOT_OURS.iter().any(|prefix| error.starts_with(prefix))).collect();
        self.expect(ours.name, "errors", ours.errors.iter().copied().collect(), errors);
    }

    fn structure(&mut self, place: &str, ours: &[Member], shape: &str) {
        let theirs = &self.shapes[shape];
        let names = |value: &Value| {
            value.as_object().map(|map| map.keys().cloned().collect::<BTreeSet<_>>()).unwrap_or_default()
        };
        let our_names: BTreeSet<_> = ours.iter().map(|member| member.name.to_owned()).collect();
        self.expect(place, "the set of members", our_names, names(&theirs["members"]));
        let required: BTreeSet<_> = theirs["required"]
            .as_array()
            .map(|names| names.iter().map(|name| name.as_str().unwrap()).collect())
            .unwrap_or_default();
        let our_required = ours.iter().filter(|member| member.required).map(|member| member.name).collect();
        self.expect(place, "the set of required members", our_required, required);
        for member in ours {
            self.members += 1;
            if let Some(shape) = theirs["members"][member.name]["shape"].as_str() {
                self.shape(&format!("{place}.{}", member.name), member.shape, shape);
            }
        }
    }

    fn shape(&mut self, place: &str, ours: &Shape, name: &str) {
        let theirs = &self.shapes[name];
        let kind = theirs["type"].as_str().unwrap();
        let bound = |which: &str, none: usize| theirs[which].as_u64().map_or(none, |bound| bound as usize);
        let bounds = (bound("min", 0), bound("max", ANY));
        match ours {
            Shape::Text { min, max, pattern } => {
                self.expect(place, "type", "string", kind);
                self.expect(place, "length", (*min, *max), bounds);
                self.expect(place, "pattern", pattern.map(|p| p.text), theirs["pattern"].as_str());
                self.expect(place, "being an enumeration", false, theirs["enum"].is_array());
            }
            Shape::Enum(values) => {
                self.expect(place, "type", "string", kind);
                let theirs: Vec<_> = theirs["enum"].as_array().into_iter().flatten().collect();
                let theirs: Vec<_> = theirs.iter().map(|value| value.as_str().unwrap()).collect();
                self.expect(place, "the set of values", values.to_vec(), theirs);
            }
            Shape::Blob { min, max, sensitive } => {
                self.expect(place, "type", "blob", kind);
                self.expect(place, "length", (*min, *max), bounds);
                self.expect(place, "secrecy", *sensitive, theirs["sensitive"].as_bool().unwrap_or(false));
            }
            Shape::Integer { min, max } => {
                self.expect(place, "type", "integer", kind);
                let ours = (Some(*min), Some(*max));
                self.expect(place, "range", ours, (theirs["min"].as_i64(), theirs["max"].as_i64()));
            }
            Shape::Boolean => self.expect(place, "type", "boolean", kind),
            Shape::Timestamp => self.expect(place, "type", "timestamp", kind),
            Shape::List { of, min, max } => {
                self.expect(place, "type", "list", kind);
                self.expect(place, "length", (*min, *max), bounds);
                if let Some(member) = theirs["member"]["shape"].as_str() {
                    self.shape(&format!("{place}[]"), of, member);
                }
            }
            Shape::Map => self.expect(place, "type", "map", kind),
            Shape::Structure(members) => {
                self.expect(place, "type", "structure", kind);
                self.structure(place, members, name);
            }
        }
    }
}

#[test]
fn every_operation_is_as_in_the_model_of_aws() {
    let Some(model) = model() else {
        say(format_args!("SKIPPED: botocore cannot be had from PyPI, so nothing was compared"));
        return;
    };
    let theirs = model["operations"].as_object().unwrap();
    let mut comparison = Comparison { shapes: &model["shapes"], differences: Vec::new(), members: 0 };
    for served in SERVED {
        match theirs.get(served.model.name) {
            Some(operation) => comparison.operation(served.model, operation),
            None => comparison.differences.push(format!("AWS has no {}", served.model.name)),
        }
    }
    let served: BTreeSet<_> = SERVED.iter().map(|served| served.model.name).collect();
    let known: BTreeSet<_> = served.iter().copied().chain(NOT_SERVED.iter().copied()).collect();
    comparison.expect(
        "the service",
        "the set of operations",
        known,
        theirs.keys().map(String::as_str).collect(),
    );
    say(format_args!(
        "{} of {} operations are served, {} members compared; not served: {}",
        SERVED.len(),
        theirs.len(),
        comparison.members,
        NOT_SERVED.join(", ")
    ));
    assert!(comparison.members > 0 && comparison.differences.is_empty(), "{:#?}", comparison.differences);
}

#[test]
fn operations_are_in_the_order_they_are_looked_up_in() {
    assert!(SERVED.is_sorted_by_key(|served| served.model.name));
    assert!(NOT_SERVED.iter().all(|name| SERVED.iter().all(|served| served.model.name != *name)));
}
