//! The site over an in-memory Boxoffice: every page, every form, every refusal.

mod browser;
mod failures;
mod fixture;
mod flows;
mod forgery;
mod live;
mod pages;
mod security;
mod wire;
