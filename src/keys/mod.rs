//! Where data keys come from.
