//! tickets
pub mod domain;
