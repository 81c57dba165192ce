//! What a process asks of the system before it does anything else.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::server::CONNECTIONS_MAX;

/// Descriptors that are not for connections: the store's files, Redis, standard streams, calls to other services.
const DESCRIPTORS_RESERVED: u64 = 256;

/// Asks for as many file descriptors as the system grants, and for memory in ordinary pages. To be called first.
///
/// The allocator asks for huge pages, of which each small arena then takes two megabytes: a service at rest would hold
/// several times what it uses.
pub fn prepare_process() {
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    if limit.current != limit.maximum
        && let Err(error) = setrlimit(Resource::Nofile, wanted)
    {
        tracing::debug!(%error, "the number of open files stays as it is");
    }
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::thread::disable_transparent_huge_pages(true) {
        tracing::debug!(%error, "memory stays in huge pages");
    }
}

/// How many connections may be open at once: [`CONNECTIONS_MAX`], or fewer where the system grants few descriptors. A
/// store that finds no descriptor can't write; it must never be connections that use them up.
pub(crate) fn connections_max() -> u32 {
    let descriptors = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let connections = descriptors
        .saturating_sub(DESCRIPTORS_RESERVED)
        .max(descriptors / 4)
        .max(1);
    u32::try_from(connections)
        .unwrap_or(u32::MAX)
        .min(CONNECTIONS_MAX)
}
