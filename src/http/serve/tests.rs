//! Tests of `http::serve`: each name says what it holds.

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
