//! The site over an in-memory Boxoffice: every page, every form, every refusal.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the message")]

mod accounts;
mod browser;
mod buying;
mod failures;
mod fixture;
mod forgery;
mod listing;
mod live;
mod pages;
mod security;
mod wire;
