//! Steps that a test takes while Redis is well. On a busy machine it can stand still for longer than a link waits for it;
//! then the step is taken again, as it is in production. Where an error is the matter, the step itself is called.

use bus::{BusError, ConsumeError, Consumed, Consumer, Handler, Recovery, Relay, RelayError, Relayed};
use store::Indexes;

/// How often a step is taken again, each time after two seconds or more of waiting for Redis.
const TRIES_MAX: u32 = 20;

/// What goes on step by step.
pub(crate) trait Steps {
    /// What a step says about itself.
    type Step;

    /// Takes a step, again while Redis can't be reached.
    async fn steps(&mut self) -> Self::Step;
}

impl<I: Indexes> Steps for Relay<I> {
    type Step = Relayed;

    async fn steps(&mut self) -> Relayed {
        for _ in 1..TRIES_MAX {
            match self.relay_once().await {
                Err(RelayError::Bus(BusError::Unreachable(error))) => println!("relaying again: {error}"),
                step => return step.unwrap(),
            }
        }
        self.relay_once().await.unwrap()
    }
}

impl<I: Indexes, H: Handler<I> + Recovery<I>> Steps for Consumer<I, H> {
    type Step = Consumed;

    async fn steps(&mut self) -> Consumed {
        for _ in 1..TRIES_MAX {
            match self.consume_once().await {
                Err(ConsumeError::Bus(BusError::Unreachable(error))) => println!("consuming again: {error}"),
                step => return step.unwrap(),
            }
        }
        self.consume_once().await.unwrap()
    }
}
