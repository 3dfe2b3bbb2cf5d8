//! Tests of `http::serve`: each name says what it holds.

use axum::Router;
use axum::routing::get;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

async fn talk(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"done") {
        let mut bytes = [0; 1024];
        let count = stream.read(&mut bytes).await.unwrap();
        assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&answer));
        answer.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_stop_answers_what_is_under_way_and_then_ends() {
    let env = Env::system();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closing = CancellationToken::new();
    let closes = closing.clone();
    let slow = move || async move {
        // The stop comes while this request is being served.
        closes.cancel();
        tokio::task::yield_now().await;
        "done"
    };
    let router = Router::new().route("/", get(|| async { "done" })).route("/slow", get(slow));
    let client = async {
        let mut stream = TcpStream::connect(address).await.unwrap();
        for path in ["/", "/slow"] {
            let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
            assert!(talk(&mut stream, &request).await.starts_with("HTTP/1.1 200"), "{path}");
        }
        assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0, "the server closes");
    };
    let serving = serve(listener, router, &env, closing);
    let both = async { tokio::join!(serving, client) };
    tokio::time::timeout(HTTP_DRAIN_MAX, both).await.expect("the server ends by itself");
}

/// A server with tight bounds, and a way to talk to it byte by byte.
struct Raw {
    address: SocketAddr,
    closing: CancellationToken,
}

impl Raw {
    async fn start(router: Router, bounds: Bounds) -> Self {
        let env = Env::system();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let closing = CancellationToken::new();
        let (stops, tasks) = (closing.clone(), env.tasks.clone());
        let serving =
            async move { serve_within(listener, router.into(), &env, stops, bounds).await };
        tasks.spawn("a server under test", serving);
        Self { address, closing }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes and reads until the server closes.
    async fn shout(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect().await;
        // The server may close before it has read everything.
        drop(stream.write_all(bytes).await);
        until_closed(&mut stream).await
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

async fn until_closed(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let mut bytes = [0; 4096];
    while let Ok(count) = stream.read(&mut bytes).await {
        if count == 0 {
            break;
        }
        answer.extend_from_slice(&bytes[..count]);
    }
    String::from_utf8_lossy(&answer).into_owned()
}

fn tight() -> Bounds {
    let short = Duration::from_millis(50);
    Bounds { connections: 2, head: short, idle: Duration::from_secs(60), stall: short }
}

fn done() -> Router {
    Router::new().route("/", get(|| async { "done" }))
}

#[tokio::test]
async fn a_head_that_drips_is_dropped_while_an_idle_connection_is_kept() {
    let raw = Raw::start(done(), tight()).await;
    let mut idle = raw.connect().await;
    assert!(talk(&mut idle, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
    let mut dripping = raw.connect().await;
    dripping.write_all(b"GET / HT").await.unwrap();
    // The server closes; nothing is answered to half a head.
    assert_eq!(until_closed(&mut dripping).await, "");
    assert!(talk(&mut idle, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn clients_that_do_nothing_make_room_for_one_that_asks() {
    let raw = Raw::start(done(), Bounds { head: Duration::from_secs(60), ..tight() }).await;
    let mut silent = [raw.connect().await, raw.connect().await];
    silent[1].write_all(b"GET").await.unwrap();
    let mut asking = raw.connect().await;
    assert!(
        talk(&mut asking, "GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.starts_with("HTTP/1.1 200")
    );
    for stream in &mut silent {
        assert_eq!(until_closed(stream).await, "");
    }
}

#[tokio::test]
async fn a_client_that_does_not_take_its_answer_is_dropped() {
    let dropped = CancellationToken::new();
    let guard = dropped.clone();
    let endless = move || async move {
        let guard = guard.drop_guard();
        axum::body::Body::from_stream(futures_util::stream::repeat_with(move || {
            let _held = &guard;
            Ok::<_, std::convert::Infallible>(vec![0u8; 64 * 1024])
        }))
    };
    let raw = Raw::start(Router::new().route("/", get(endless)), tight()).await;
    let mut stream = raw.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    dropped.cancelled().await;
    drop(stream);
}

#[tokio::test]
async fn what_is_not_http_is_refused_and_the_connection_closed() {
    let raw = Raw::start(done(), Bounds { connections: 64, ..tight() }).await;
    let giant = format!("GET / HTTP/1.1\r\nhost: x\r\nx: {}\r\n\r\n", "y".repeat(128 * 1024));
    let many = format!("GET / HTTP/1.1\r\nhost: x\r\n{}\r\n", "x: y\r\n".repeat(200));
    for (bytes, status) in [
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n".to_vec(), "400"),
        (b"GET /\xff HTTP/1.1\r\nhost: x\r\n\r\n".to_vec(), "400"),
        (b"GET / HTTP/1.1\r\nhost: x\r\nbad header\r\n\r\n".to_vec(), "400"),
        (b"GET / HTTP/1.1\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n".to_vec(), "400"),
        (b"GET / HTTP/9.9\r\n\r\n".to_vec(), "400"),
        (giant.into_bytes(), "431"),
        (many.into_bytes(), "431"),
    ] {
        let answer = raw.shout(&bytes).await;
        let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
        assert!(answer.is_empty() || answer.contains(status), "{begin:?}: {answer}");
    }
    // Old and hurried clients are served all the same.
    assert!(raw.shout(b"GET / HTTP/1.0\r\n\r\n").await.starts_with("HTTP/1.0 200"));
    let two =
        "GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    assert_eq!(raw.shout(two.as_bytes()).await.matches("HTTP/1.1 200").count(), 2);
}
