//! The one message of a unary call, out of HTTP/2's DATA frames.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use http_body::Body;
use tokio::time::timeout;

use super::codec::FRAME_HEADER_BYTES;
use crate::bounds::{BUFFERED_MAX_BYTES, MESSAGE_MAX_BYTES};

/// A whole message.
#[derive(Debug)]
pub(super) struct Message<'r> {
    pub bytes: Bytes,
    /// To be kept for as long as the bytes are.
    pub taken: Taken<'r>,
}

/// Why there is no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Missing {
    /// Longer than is decided, or no room for it beside the others: answered by policy.
    TooLarge,
    /// Compressed, which we never offered.
    Compressed,
    /// Not one length-prefixed message.
    Framing,
    /// It did not all come within the deadline.
    Late,
    /// The client went away.
    Gone,
}

/// The message of a unary call, where it is there already and came in one DATA frame, which is the rule: a slice of the
/// connection's read buffer, so that nothing is copied. Else what was taken out of the body, for [`read`].
///
/// Nobody is woken when more comes: who goes on with `read` looks again.
pub(super) fn at_once<B>(body: &mut B) -> Result<Bytes, Bytes>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut nobody = Context::from_waker(Waker::noop());
    let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut *body).poll_frame(&mut nobody) else { return Err(Bytes::new()) };
    let mut framed = frame.into_data().unwrap_or_default();
    match announced(&framed) {
        Ok(Some(length))
            if length <= MESSAGE_MAX_BYTES && framed.len() == FRAME_HEADER_BYTES + length && body.is_end_stream() =>
        {
            Ok(framed.split_off(FRAME_HEADER_BYTES))
        }
        _ => Err(framed),
    }
}

/// Reads the message of a unary call, the first bytes of which are `begun`.
pub(super) async fn read<B>(begun: Bytes, body: B, room: &Room, deadline: Duration) -> Result<Message<'_>, Missing>
where
    B: Body<Data = Bytes> + Unpin,
{
    let mut parts = Parts::new(room);
    parts.add(begun)?;
    timeout(deadline, rest(body, parts)).await.unwrap_or(Err(Missing::Late))
}

/// Waits for what is still to come.
async fn rest<B>(mut body: B, mut parts: Parts<'_>) -> Result<Message<'_>, Missing>
where
    B: Body<Data = Bytes> + Unpin,
{
    while !body.is_end_stream() {
        let Some(frame) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        let Ok(data) = frame.map_err(|_| Missing::Gone)?.into_data() else { break };
        parts.add(data)?;
    }
    parts.join()
}

/// What has come of a message.
struct Parts<'r> {
    taken: Taken<'r>,
    whole: Bytes,
    /// Only used from the second frame that carries something.
    joined: BytesMut,
}

impl<'r> Parts<'r> {
    fn new(room: &'r Room) -> Self {
        Self { taken: Taken { room, bytes: 0 }, whole: Bytes::new(), joined: BytesMut::new() }
    }

    fn add(&mut self, data: Bytes) -> Result<(), Missing> {
        if data.is_empty() {
            return Ok(());
        }
        if self.whole.is_empty() && self.joined.is_empty() {
            self.whole = data;
        } else {
            self.taken.more(self.whole.len() + data.len()).ok_or(Missing::TooLarge)?;
            self.joined.extend_from_slice(&std::mem::take(&mut self.whole));
            self.joined.extend_from_slice(&data);
        }
        let so_far = if self.joined.is_empty() { &self.whole[..] } else { &self.joined[..] };
        // What is announced is not waited for if it will not be decided, nor what goes on beyond it.
        match announced(so_far)? {
            Some(length) if length > MESSAGE_MAX_BYTES => Err(Missing::TooLarge),
            Some(length) if so_far.len() > FRAME_HEADER_BYTES + length => Err(Missing::Framing),
            _ => Ok(()),
        }
    }

    fn join(self) -> Result<Message<'r>, Missing> {
        let mut framed = if self.joined.is_empty() { self.whole } else { self.joined.freeze() };
        match announced(&framed)? {
            Some(length) if framed.len() == FRAME_HEADER_BYTES + length => {
                Ok(Message { bytes: framed.split_off(FRAME_HEADER_BYTES), taken: self.taken })
            }
            _ => Err(Missing::Framing),
        }
    }
}

/// The length that the frame header announces; none while it is not all there.
fn announced(framed: &[u8]) -> Result<Option<usize>, Missing> {
    match framed {
        [0, a, b, c, d, ..] => Ok(usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).ok()),
        [0, ..] | [] => Ok(None),
        [1, ..] => Err(Missing::Compressed),
        _ => Err(Missing::Framing),
    }
}

/// How many bytes of messages that come in parts may be held at once, by all connections together.
///
/// Without it, 256 streams of each connection could each hold the largest message there is.
#[derive(Clone, Debug, Default)]
pub(super) struct Room {
    taken_bytes: Arc<AtomicUsize>,
}

/// Room that one message takes; given back when dropped.
#[derive(Debug)]
pub(super) struct Taken<'r> {
    room: &'r Room,
    bytes: usize,
}

impl Taken<'_> {
    /// Takes so many more bytes; none, if that is more than there is room for.
    fn more(&mut self, bytes: usize) -> Option<()> {
        self.bytes += bytes;
        let before = self.room.taken_bytes.fetch_add(bytes, Relaxed);
        (before.saturating_add(bytes) <= BUFFERED_MAX_BYTES).then_some(())
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.room.taken_bytes.fetch_sub(self.bytes, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible};

    use http_body::Frame;

    use super::*;

    /// A body of these frames; after them the stream ends, or goes silent.
    struct Frames {
        frames: VecDeque<Bytes>,
        ends: bool,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.frames.pop_front() {
                Some(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                None if self.ends => Poll::Ready(None),
                None => Poll::Pending,
            }
        }

        fn is_end_stream(&self) -> bool {
            self.ends && self.frames.is_empty()
        }
    }

    async fn read_frames(frames: &[&[u8]], ends: bool) -> Result<Bytes, Missing> {
        let frames = frames.iter().map(|frame| Bytes::copy_from_slice(frame)).collect();
        let (room, mut body) = (Room::default(), Frames { frames, ends });
        match at_once(&mut body) {
            Ok(message) => Ok(message),
            Err(begun) => read(begun, body, &room, Duration::from_millis(1)).await.map(|message| message.bytes),
        }
    }

    #[tokio::test]
    async fn frames_make_one_message_or_say_why_not() {
        for (frames, ends, expected) in [
            (&[&b"\0\0\0\0\x03abc"[..]][..], true, Ok(&b"abc"[..])),
            (&[b"\0\0\0\0\0"], true, Ok(b"")),
            (&[b"\0\0\0\0\x03abc", b""], true, Ok(b"abc")),
            (&[b"", b"\0", b"\0\0\0\x03a", b"b", b"c"], true, Ok(b"abc")),
            (&[b"\0\0\0\0\x03ab"], true, Err(Missing::Framing)),
            (&[b"\0\0\0\0\x03abcd"], false, Err(Missing::Framing)),
            (&[b"\0\0\0\0\x03abc", b"\0\0\0\0\x03abc"], false, Err(Missing::Framing)),
            (&[b"\0\0\0"], true, Err(Missing::Framing)),
            (&[], true, Err(Missing::Framing)),
            (&[b"\x02\0\0\0\0"], false, Err(Missing::Framing)),
            (&[b"\x01\0\0\0\x03abc"], false, Err(Missing::Compressed)),
            (&[b"\0\x01\0\0\0"], true, Err(Missing::Framing)), // 16 MiB are announced: decided, if they come
            (&[b"\0\x01\0\0\x01"], false, Err(Missing::TooLarge)),
            (&[b"\0\xff\xff\xff\xff"], false, Err(Missing::TooLarge)),
            (&[b"\0\0\0\0\x03ab"], false, Err(Missing::Late)),
            (&[], false, Err(Missing::Late)),
        ] {
            let expected = expected.map(Bytes::from_static);
            assert_eq!(read_frames(frames, ends).await, expected, "{frames:?}");
        }
    }

    #[test]
    fn one_frame_is_not_copied() {
        let frame = Bytes::from_static(b"\0\0\0\0\x03abc");
        let mut body = Frames { frames: [frame.clone()].into(), ends: true };
        let message = at_once(&mut body).unwrap();
        assert_eq!(message.as_ptr(), frame[FRAME_HEADER_BYTES..].as_ptr());
    }

    #[tokio::test]
    async fn messages_in_parts_share_one_room_and_give_it_back() {
        let room = Room::default();
        let parts = || Frames {
            frames: [&b"\0\0\0\0\x03a"[..], b"bc"].into_iter().map(Bytes::from_static).collect(),
            ends: true,
        };
        let message = read(Bytes::new(), parts(), &room, Duration::ZERO).await.unwrap();
        assert_eq!(room.taken_bytes.load(Relaxed), 8);
        drop(message);
        assert_eq!(room.taken_bytes.load(Relaxed), 0);

        room.taken_bytes.store(BUFFERED_MAX_BYTES - 7, Relaxed);
        assert_eq!(read(Bytes::new(), parts(), &room, Duration::ZERO).await.unwrap_err(), Missing::TooLarge);
        assert_eq!(room.taken_bytes.load(Relaxed), BUFFERED_MAX_BYTES - 7);
    }
}
