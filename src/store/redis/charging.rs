//! A request on its way: split where its counters stand in several slots, asked of each server, and put together again.

use std::time::Duration;

use futures_util::future::{join_all, try_join_all};
use redis::{Cmd, Value};
use smallvec::SmallVec;
use tokio::time::{Instant, timeout};

use super::{
    Decided, Failure, Redis, Seats, ask,
    away::Away,
    key::Group,
    node::{Hop, Node},
    reply::Seen,
    script::{Arguments, Call, How},
    slots::Slot,
    spread::{self, Part, Taken},
    usual::Usual,
};
use crate::{
    bounds::{REDIS_COUNTERS_PER_REQUEST_MAX, REDIS_PARTS_PER_REQUEST_MAX},
    charge::settle,
    store::Asking,
};

impl Redis {
    /// Decides all charges of one request: in one atomic step, or where the counters of the domain are spread, by the
    /// protocol of [`spread`].
    ///
    /// # Errors
    ///
    /// Why the server did not decide. It may have charged all the same: what is lost is only the answer.
    pub async fn charge(&self, asking: &Asking<'_, '_>) -> Result<Decided, Away> {
        self.charge_seated(asking, &Seats::of(asking.charges)).await.map_err(|failure| failure.why)
    }

    /// The same for charges whose `seats` are known.
    pub(in crate::store) async fn charge_seated(
        &self,
        asking: &Asking<'_, '_>,
        seats: &Seats,
    ) -> Result<Decided, Failure> {
        let Asking { charges, now, .. } = *asking;
        if seats.keys.is_empty() {
            return Ok(Decided { verdicts: settle(charges, &[], &mut [], now), before: SmallVec::new(), at: now });
        }
        if seats.keys.len() > REDIS_COUNTERS_PER_REQUEST_MAX {
            return Err(Away::TooMany.into());
        }
        match self.group_of(asking.keyspace, charges) {
            Some(group) => {
                let hop = Hop::to(self.servers.node_of(group.slot()))?;
                let usual = Usual::of(charges, seats, self.time);
                self.charge_group(asking, group, seats, usual.as_ref(), hop).await
            }
            None => self.charge_spread(asking, seats).await,
        }
    }

    /// Asks the server that has the counters of `group`, where `hop` stands. `usual`: the short way, where there is one.
    async fn charge_group(
        &self,
        asking: &Asking<'_, '_>,
        group: Group<'_>,
        seats: &Seats,
        usual: Option<&Usual>,
        hop: Hop,
    ) -> Result<Decided, Failure> {
        let (began, Asking { charges, now, .. }) = (Instant::now(), *asking);
        let command = |how, node: &Node| {
            let mut ask = Vec::new();
            // The usual answer tells no time, so that it must be known well enough.
            let arguments = match usual.filter(|_| node.clock().is_known(now)) {
                Some(usual) => Arguments::Usual(usual),
                None => {
                    ask::write(charges, seats, self.time, self.server_time(node, now), &mut ask);
                    Arguments::AtLength(&ask)
                }
            };
            Call { script: &self.scripts.charge, names: &self.names, group, keys: &seats.keys, arguments }.command(how)
        };
        let (answered, hop) = self.run(asking, group.slot(), command, hop).await?;
        match self.read(answered, began.elapsed(), asking, seats, hop.node()) {
            Some(decided) => {
                hop.succeeded();
                Ok(decided)
            }
            None => Err(Failure { why: Away::Garbled, at: Some(hop) }),
        }
    }

    /// Asks every server that has some of the counters, all at the same time. What is taken in vain is told to be given back
    /// before this returns, but waited for no longer than a call may take.
    async fn charge_spread(&self, asking: &Asking<'_, '_>, seats: &Seats) -> Result<Decided, Failure> {
        let began = Instant::now();
        let parts = spread::parts(asking.charges);
        if parts.len() > REDIS_PARTS_PER_REQUEST_MAX {
            return Err(Away::TooMany.into());
        }
        let hop = |part: &Part<'_>| Hop::to(self.servers.node_of(part.group(asking.keyspace.domain).slot()));
        // Nobody is asked as long as one of them is away: what the others took would be for nothing.
        let hops = parts.iter().map(hop).collect::<Result<Vec<_>, _>>()?;
        let answers = parts.iter().zip(hops).map(async |(part, hop)| {
            let asking = Asking { charges: &part.charges, ..*asking };
            // At length: the answer tells of which window something was taken.
            let decided = self.charge_group(&asking, part.group(asking.keyspace.domain), &part.seats, None, hop).await;
            decided.map(|decided| (part, decided))
        });
        let mut decided = try_join_all(answers).await?;
        let in_vain = spread::in_vain(asking.charges, &mut decided);
        if !in_vain.is_empty() {
            let left = self.deadline_of(asking).saturating_sub(began.elapsed());
            let calls = in_vain.iter().map(|(part, taken)| self.give_back(asking, part, taken));
            // Once, and whatever comes of it: what stays taken refuses too much, and never too little.
            let _ = timeout(left, join_all(calls)).await;
        }
        Ok(spread::join(asking.charges, seats, &decided))
    }

    async fn give_back(&self, asking: &Asking<'_, '_>, part: &Part<'_>, taken: &[Taken]) {
        let group = part.group(asking.keyspace.domain);
        let keys: SmallVec<[_; 8]> = taken.iter().map(|taken| part.seats.keys[taken.seat as usize]).collect();
        let time = self.time_of_calls(asking.now);
        let arguments = Arguments::GiveBack { time, taken };
        let call = Call { script: &self.scripts.give_back, names: &self.names, group, keys: &keys, arguments };
        let mut hop = Hop::anyway(self.servers.node_of(group.slot()));
        let _ = self.servers.follow(group.slot(), |how, _: &Node| call.command(how), asking.core, &mut hop).await;
    }

    /// What `node` decided in a call that took so long; None where its answer is none.
    fn read(
        &self,
        answer: Value,
        took: Duration,
        asking: &Asking<'_, '_>,
        seats: &Seats,
        node: &Node,
    ) -> Option<Decided> {
        let seen = Seen::read(answer, asking.charges, seats)?;
        if let Some(theirs) = seen.now {
            node.clock().note(theirs, asking.now, took);
        }
        let at = seen.now.unwrap_or_else(|| self.server_time(node, asking.now));
        Decided::of(&seen, asking.charges, seats, at)
    }

    async fn run(
        &self,
        asking: &Asking<'_, '_>,
        slot: Slot,
        command: impl Fn(How, &Node) -> Cmd,
        mut hop: Hop,
    ) -> Result<(Value, Hop), Failure> {
        let deadline = self.deadline_of(asking);
        let answered = timeout(deadline, self.servers.follow(slot, command, asking.core, &mut hop)).await;
        match answered.unwrap_or(Err(if deadline < self.deadline { Away::Hurried } else { Away::Late })) {
            Ok(answered) => Ok((answered, hop)),
            Err(why) => Err(Failure { at: why.blames_server().then_some(hop), why }),
        }
    }

    fn deadline_of(&self, asking: &Asking<'_, '_>) -> Duration {
        asking.within.map_or(self.deadline, |within| within.min(self.deadline))
    }
}
