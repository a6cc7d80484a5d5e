//! The body of a request, read whole within bounds.

use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use tokio::time::timeout;

use crate::bounds::HTTP_BODY_DROPPED_MAX_BYTES;

/// Why a body is not all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unread {
    TooLarge,
    TooSlow,
    BrokeOff,
}

/// The whole body, of at most `max_bytes`, within `deadline`.
///
/// One that is too large is read on for a while, and thrown away: who is still sending when the connection closes would
/// miss the answer.
///
/// # Errors
///
/// Why it is not all there. Whoever sent it is best told to close the connection.
pub async fn read(body: Body, max_bytes: usize, deadline: Duration) -> Result<Bytes, Unread> {
    timeout(deadline, collect(body, max_bytes)).await.unwrap_or(Err(Unread::TooSlow))
}

async fn collect(mut body: Body, max_bytes: usize) -> Result<Bytes, Unread> {
    let (mut kept, mut bytes) = (BytesMut::new(), 0);
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return Err(Unread::BrokeOff) };
        let Some(data) = frame.data_ref() else { continue };
        bytes += data.len();
        if bytes <= max_bytes {
            kept.extend_from_slice(data);
        } else if bytes > max_bytes.max(HTTP_BODY_DROPPED_MAX_BYTES) {
            break;
        }
    }
    if bytes <= max_bytes { Ok(kept.freeze()) } else { Err(Unread::TooLarge) }
}
