//! The stored form of a payment.

use events::{Currency, FailureReason, Money, OrderId, PaymentId, Timestamp, UserId, Version};
use store::codec::{self, DecodeError};
use store::{Record, Table};

use crate::domain::{Authorization, Checkout, CheckoutRequest, Failure, Lapse, Lapsed, Payment, State};

#[derive(bincode::Encode, bincode::Decode)]
pub(super) struct MoneyV1 {
    minor: i64,
    currency: u8,
}

#[derive(bincode::Encode, bincode::Decode)]
struct PaymentV1 {
    id: [u8; 16],
    version: u64,
    published: u64,
    order_id: [u8; 16],
    user_id: [u8; 16],
    amount: MoneyV1,
    attempt: u32,
    request: RequestV1,
    state: StateV1,
    changed_at_micros: i64,
}

#[derive(bincode::Encode, bincode::Decode)]
struct RequestV1 {
    title: String,
    price: MoneyV1,
    quantity: u32,
    success_url: String,
    cancel_url: String,
    expires_at_micros: i64,
}

/// One form for all states: `code` says which, and the rest is there as far as that state has it.
#[derive(Default, bincode::Encode, bincode::Decode)]
struct StateV1 {
    code: u8,
    session: Option<String>,
    url: Option<String>,
    intent: Option<String>,
    reason: Option<u8>,
    settled: bool,
}

const OPENING: u8 = 1;
const OPEN: u8 = 2;
const AUTHORIZED: u8 = 3;
const CAPTURING: u8 = 4;
const CAPTURED: u8 = 5;
const CLOSING: u8 = 6;
const CLOSED: u8 = 7;
const LAPSED: u8 = 8;
const FAILED: u8 = 9;
const REFUNDING: u8 = 10;
const REFUNDED: u8 = 11;
const RECALLED: u8 = 12;

impl Record for Payment {
    const TABLE: Table = Table(b'p', "payment");
    const SCHEMA: u8 = 1;
    type Key = PaymentId;

    fn key(&self) -> PaymentId {
        self.id
    }

    fn version(&self) -> Version {
        self.version
    }

    fn encode(&self) -> Vec<u8> {
        codec::encode(&PaymentV1 {
            id: self.id.to_bytes(),
            version: self.version.0,
            published: self.published.0,
            order_id: self.order_id.to_bytes(),
            user_id: self.user_id.to_bytes(),
            amount: self.amount.into(),
            attempt: self.attempt,
            request: RequestV1 {
                title: self.request.title.clone(),
                price: self.request.price.into(),
                quantity: self.request.quantity,
                success_url: self.request.success_url.clone(),
                cancel_url: self.request.cancel_url.clone(),
                expires_at_micros: self.request.expires_at.as_micros(),
            },
            state: (&self.state).into(),
            changed_at_micros: self.changed_at.as_micros(),
        })
    }

    fn decode(schema: u8, bytes: &[u8]) -> Result<Self, DecodeError> {
        match schema {
            1 => codec::decode::<PaymentV1>(bytes)?.upcast(),
            newer => Err(DecodeError::UnknownSchema(newer)),
        }
    }
}

impl PaymentV1 {
    fn upcast(self) -> Result<Payment, DecodeError> {
        Ok(Payment {
            id: PaymentId::from_bytes(self.id),
            version: Version(self.version),
            published: Version(self.published),
            order_id: OrderId::from_bytes(self.order_id),
            user_id: UserId::from_bytes(self.user_id),
            amount: self.amount.upcast()?,
            attempt: self.attempt,
            request: CheckoutRequest {
                title: self.request.title,
                price: self.request.price.upcast()?,
                quantity: self.request.quantity,
                success_url: self.request.success_url,
                cancel_url: self.request.cancel_url,
                expires_at: Timestamp::from_micros(self.request.expires_at_micros),
            },
            state: self.state.upcast()?,
            changed_at: Timestamp::from_micros(self.changed_at_micros),
        })
    }
}

impl From<Money> for MoneyV1 {
    fn from(money: Money) -> Self {
        Self {
            minor: money.minor(),
            currency: money.currency().code(),
        }
    }
}

impl MoneyV1 {
    pub(super) fn upcast(self) -> Result<Money, DecodeError> {
        let currency =
            Currency::from_code(self.currency).ok_or_else(|| invalid("currency", self.currency))?;
        Money::from_minor(self.minor, currency)
            .map_err(|error| DecodeError::Invalid(format!("an amount {error}")))
    }
}

impl From<&State> for StateV1 {
    fn from(state: &State) -> Self {
        let paid = |code, authorization: &Authorization| Self {
            code,
            session: Some(authorization.session.clone()),
            intent: Some(authorization.intent.clone()),
            ..Self::default()
        };
        match state {
            State::Opening => Self {
                code: OPENING,
                ..Self::default()
            },
            State::Open(checkout) => Self {
                code: OPEN,
                session: Some(checkout.session.clone()),
                url: Some(checkout.url.clone()),
                ..Self::default()
            },
            State::Recalled(session) => Self {
                code: RECALLED,
                session: Some(session.clone()),
                ..Self::default()
            },
            State::Authorized(authorization) => paid(AUTHORIZED, authorization),
            State::Capturing(authorization) => paid(CAPTURING, authorization),
            State::Captured(authorization) => paid(CAPTURED, authorization),
            State::Closing(session) => Self {
                code: CLOSING,
                session: session.clone(),
                ..Self::default()
            },
            State::Closed(session) => Self {
                code: CLOSED,
                session: session.clone(),
                ..Self::default()
            },
            State::Lapsed(lapsed) => Self {
                code: LAPSED,
                session: lapsed.session.clone(),
                reason: Some(lapse_code(lapsed.why)),
                ..Self::default()
            },
            State::Failed(failure) => Self {
                reason: Some(failure_code(failure.reason)),
                settled: failure.settled,
                ..paid(FAILED, &failure.authorization)
            },
            State::Refunding(authorization) => paid(REFUNDING, authorization),
            State::Refunded(authorization) => paid(REFUNDED, authorization),
        }
    }
}

impl StateV1 {
    fn upcast(self) -> Result<State, DecodeError> {
        Ok(match self.code {
            OPENING => State::Opening,
            OPEN => State::Open(Checkout {
                session: present(self.session)?,
                url: present(self.url)?,
            }),
            AUTHORIZED => State::Authorized(self.paid()?),
            CAPTURING => State::Capturing(self.paid()?),
            CAPTURED => State::Captured(self.paid()?),
            CLOSING => State::Closing(self.session),
            CLOSED => State::Closed(self.session),
            LAPSED => {
                let code = present(self.reason)?;
                let why = lapse(code).ok_or_else(|| invalid("lapse", code))?;
                State::Lapsed(Lapsed {
                    session: self.session,
                    why,
                })
            }
            FAILED => {
                let code = present(self.reason)?;
                let reason = failure(code).ok_or_else(|| invalid("failure", code))?;
                let settled = self.settled;
                State::Failed(Failure {
                    authorization: self.paid()?,
                    reason,
                    settled,
                })
            }
            REFUNDING => State::Refunding(self.paid()?),
            REFUNDED => State::Refunded(self.paid()?),
            RECALLED => State::Recalled(present(self.session)?),
            other => return Err(invalid("state", other)),
        })
    }

    fn paid(self) -> Result<Authorization, DecodeError> {
        Ok(Authorization {
            session: present(self.session)?,
            intent: present(self.intent)?,
        })
    }
}

pub(super) fn invalid(what: &str, code: u8) -> DecodeError {
    DecodeError::Invalid(format!("{code} stands for no {what}"))
}

fn present<T>(part: Option<T>) -> Result<T, DecodeError> {
    part.ok_or_else(|| DecodeError::Invalid("a part of the state is missing".to_owned()))
}

const fn lapse_code(why: Lapse) -> u8 {
    match why {
        Lapse::Expired => 1,
        Lapse::AuthorizationGone => 2,
        Lapse::Unanswered => 3,
        Lapse::Refused => 4,
    }
}

const fn lapse(code: u8) -> Option<Lapse> {
    match code {
        1 => Some(Lapse::Expired),
        2 => Some(Lapse::AuthorizationGone),
        3 => Some(Lapse::Unanswered),
        4 => Some(Lapse::Refused),
        _ => None,
    }
}

const fn failure_code(reason: FailureReason) -> u8 {
    match reason {
        FailureReason::CaptureRefused => 1,
        FailureReason::AuthorizationGone => 2,
    }
}

const fn failure(code: u8) -> Option<FailureReason> {
    match code {
        1 => Some(FailureReason::CaptureRefused),
        2 => Some(FailureReason::AuthorizationGone),
        _ => None,
    }
}
