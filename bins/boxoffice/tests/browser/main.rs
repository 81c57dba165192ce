//! A real browser clicks through the real system: Chromium over WebDriver, everything in one process, with scripts
//! and without.
//!
//! Every test keeps an eye on the console, the content security policy and the network (`browser_log`): a page that
//! complains or asks another host fails the test that visited it. What the services promise over HTTP is tested in
//! `system` and `contract`; here it is about what a person sees.

mod browser_log;
mod expiry;
mod gallery;
mod locator;
mod open_pages;
mod purchase;
mod stage;
mod webdriver;
