//! What a test program expects of counters in memory it expects of those in Redis, too.

#[test]
fn the_same_holds_over_redis() {
    crate::servers::run_again_over_redis(&[]);
}
