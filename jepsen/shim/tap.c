/* Joins a TAP device to a datagram socket: tap DEVICE OWN-SOCKET SWITCH-SOCKET, run inside a node's
   network namespace. What the node sends goes to the switch, what the switch sends to the node. A frame
   that finds no room is dropped, as a wire would. */

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

static struct sockaddr_un named(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    snprintf(name.sun_path, sizeof name.sun_path, "%s", path);
    return name;
}

static int failed(const char *what) {
    perror(what);
    return 1;
}

/* One frame from here to there; 0 when the one who reads is gone. */
static int carry(int from, int to) {
    char frame[65536];
    ssize_t length = read(from, frame, sizeof frame);
    if (length < 0) return errno == EAGAIN || errno == EINTR;
    if (write(to, frame, length) < 0) return errno != ECONNREFUSED && errno != ENOTCONN;
    return 1;
}

int main(int count, char **words) {
    if (count != 4) return 2;
    int tap = open("/dev/net/tun", O_RDWR | O_NONBLOCK), line = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
    struct ifreq device = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    snprintf(device.ifr_name, sizeof device.ifr_name, "%s", words[1]);
    if (tap < 0 || ioctl(tap, TUNSETIFF, &device)) return failed("tap");
    struct sockaddr_un own = named(words[2]), other = named(words[3]);
    if (line < 0 || bind(line, (struct sockaddr *)&own, sizeof own)) return failed("bind");
    if (connect(line, (struct sockaddr *)&other, sizeof other)) return failed("connect");
    struct pollfd both[2] = {{.fd = tap, .events = POLLIN}, {.fd = line, .events = POLLIN}};
    while (poll(both, 2, -1) >= 0 || errno == EINTR) {
        if (both[0].revents && !carry(tap, line)) return 0;
        if (both[1].revents && !carry(line, tap)) return 0;
    }
    return failed("poll");
}
