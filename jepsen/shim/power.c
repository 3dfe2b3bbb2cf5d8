/* Takes the power from the file system that is mounted at a path: what was not synced is gone when it
   is mounted again. An ioctl is unsafe code, which the harness does not have. */

#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>

/* EXT4_IOC_SHUTDOWN, which XFS has too; 2 stops at once without flushing the journal. */
#define SHUTDOWN _IOR('X', 125, uint32_t)
#define NO_FLUSH 2

int main(int count, char **words) {
    uint32_t how = NO_FLUSH;
    int fd = count == 2 ? open(words[1], O_RDONLY) : -1;
    if (fd < 0 || ioctl(fd, SHUTDOWN, &how)) return perror("shutdown"), 1;
    return 0;
}
