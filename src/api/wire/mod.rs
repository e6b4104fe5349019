//! AWS JSON 1.1: bodies of requests and answers.
//!
//! A request is read in three steps, each of which refuses what it does not take: [`json`] reads the
//! document, [`input`] brings its members to the types of the model, [`check()`] holds them against the
//! model's bounds. An answer is written by [`output`].

mod check;
mod input;
mod json;
mod output;

pub use check::check;
pub use input::{Field, Input};
pub use json::Value;
pub use output::{Object, Output};
