//! orders
pub mod domain;
