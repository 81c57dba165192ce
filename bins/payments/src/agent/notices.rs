//! What comes of Stripe's notices: a look at the payment's own session, the end of any other, and in each case
//! that the notice is read. One that nothing can come of is read, too, or it would be urgent for ever.

use store::{StoreError, Txn, TxnError};

use super::{Agent, StepError, Tries};
use crate::domain::{Command, Payment, undo};
use crate::store::{Notice, PaymentIndexes};
use crate::stripe::Trouble;

impl Agent {
    /// The notices that a look at the payment's own session answers, and those about other sessions.
    pub(super) fn notices(
        &self,
        payment: &Payment,
        unread: &[String],
    ) -> Result<(Vec<String>, Vec<Notice>), StoreError> {
        let (mut own, mut strays) = (Vec::new(), Vec::new());
        for id in unread {
            // One that is not durable yet is read by the next step: the webhook asks for one.
            let Some(notice) = self.store.get::<Notice>(id)? else {
                continue;
            };
            let about = notice.session.as_deref();
            if about.is_none() || about == payment.state.session() {
                own.push(notice.id);
            } else {
                strays.push(notice);
            }
        }
        Ok((own, strays))
    }

    /// A session that is not the payment's present one: the belated answer to a request that was given up, or
    /// an earlier attempt that was paid after all. Nothing of it may be left.
    pub(super) async fn see_to_stray(
        &self,
        payment: &Payment,
        notice: Notice,
        tries: &mut Tries,
    ) -> Result<(), StepError> {
        let Some(session) = &notice.session else {
            return Ok(());
        };
        let view = match self.stripe.read(session).await {
            Ok(view) => view,
            Err(Trouble::Missing(words)) => {
                tracing::warn!(payment = %payment.id, order = %payment.order_id, session, notice = notice.id, words,
                    "a notice names a session that Stripe does not have");
                return self.read_notices(vec![notice.id]).await;
            }
            Err(trouble) => return Err(trouble.into()),
        };
        tries.answered = true;
        if payment.state.session().is_none() && view.attempt == payment.attempt {
            self.apply(payment, Command::Observe(view), vec![notice.id])
                .await?;
            return Ok(());
        }
        if let Some(call) = undo(&view) {
            tracing::warn!(payment = %payment.id, order = %payment.order_id, session, ?call, "a stray session is undone");
            if let Err(trouble) = self.stripe.call(&call, tries.repeat).await {
                tries.repeat += 1;
                return Err(trouble.into());
            }
            // What it left is seen by the next step, which finds the notice still unread.
            return Ok(());
        }
        self.read_notices(vec![notice.id]).await
    }

    /// Remembers that nothing more comes of these notices.
    pub(super) async fn read_notices(&self, notices: Vec<String>) -> Result<(), StepError> {
        if notices.is_empty() {
            return Ok(());
        }
        self.transact(move |tx| mark_read(tx, &notices)).await
    }
}

/// Stages that these notices were read.
pub(super) fn mark_read(tx: &mut Txn<'_, PaymentIndexes>, notices: &[String]) -> Result<(), TxnError> {
    for id in notices {
        if let Some(notice) = tx.get::<Notice>(id)?
            && !notice.read
        {
            tx.put_any(Notice { read: true, ..notice })?;
        }
    }
    Ok(())
}
