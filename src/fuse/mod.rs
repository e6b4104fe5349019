//! Thin adapter between the kernel and [`crate::fs`].
