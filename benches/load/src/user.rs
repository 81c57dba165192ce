//! One simulated user: a connection to each part of the system, and who they are.

use std::sync::Arc;
use std::time::Instant;

use crate::http::{Answer, Connection, HttpError, Request};
use crate::place::Place;
use crate::record::Recorder;
use crate::scenario::Failed;

/// One simulated user.
#[derive(Debug)]
pub struct User {
    /// Which of the run's users.
    pub number: usize,
    place: Place,
    connections: Vec<Connection>,
    recorder: Arc<Recorder>,
    operation_due: Instant,
    request_due: Option<Instant>,
}

impl User {
    /// The `number`th user of a run.
    pub fn new(number: usize, place: Place, recorder: Arc<Recorder>) -> Self {
        Self {
            number,
            place,
            connections: Vec::new(),
            recorder,
            operation_due: Instant::now(),
            request_due: None,
        }
    }

    /// An operation begins that was due then. Its first request is counted from there, however late it is sent.
    pub fn begins(&mut self, due: Instant) {
        self.operation_due = due;
        self.request_due = Some(due);
    }

    /// When the operation was due that is under way.
    pub fn due(&self) -> Instant {
        self.operation_due
    }

    /// What came of it is recorded here.
    pub fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Sends a request to whoever serves its path, records how long the answer took under `route`, and answers it if
    /// its status is one of those that are wanted.
    ///
    /// # Errors
    /// [`Failed`], with what went wrong recorded.
    pub async fn call(
        &mut self,
        route: &'static str,
        wanted: &[u16],
        request: Request<'_>,
    ) -> Result<Answer<'_>, Failed> {
        let due = self.request_due.take().unwrap_or_else(Instant::now);
        let operation_due = self.operation_due;
        let base = self.place.of(request.path);
        let mut known = self.connections.iter();
        let known = known.position(|known| known.address() == base.address());
        let at = known.unwrap_or_else(|| {
            self.connections.push(base.connection());
            self.connections.len() - 1
        });
        let recorder = &self.recorder;
        let answer = self.connections[at].send(&request).await;
        let now = Instant::now();
        match answer {
            Ok(answer) if wanted.contains(&answer.status) => {
                recorder.route(route, due, now);
                Ok(answer)
            }
            Ok(answer) => {
                recorder.error(&refusal(route, &answer), operation_due, now);
                Err(Failed)
            }
            Err(error) => {
                recorder.error(&unanswered(route, &error), operation_due, now);
                Err(Failed)
            }
        }
    }

    /// An answer had another shape than the contract says.
    pub fn misread(&self, route: &str, error: &serde_json::Error) -> Failed {
        let kind = format!("{route}: the answer can't be read: {error}");
        self.recorder.error(&kind, self.operation_due, Instant::now());
        Failed
    }

    /// Something else is not as it should be.
    pub fn wrong(&self, what: &str) -> Failed {
        self.recorder.error(what, self.operation_due, Instant::now());
        Failed
    }
}

/// An answer that was not wanted, in words that are the same for all answers of its kind.
fn refusal(route: &str, answer: &Answer<'_>) -> String {
    #[derive(serde::Deserialize)]
    struct Problem {
        detail: Option<String>,
        title: Option<String>,
    }
    let said = answer.json::<Problem>().ok();
    let said = said.and_then(|problem| problem.detail.or(problem.title));
    format!("{route}: {} {}", answer.status, said.unwrap_or_default())
}

/// Numbers such as ports change from one error to the next and would make each a kind of its own.
fn unanswered(route: &str, error: &HttpError) -> String {
    format!("{route}: {error}")
}
