/* An open-loop HTTP client that is not the limit: one thread, one request a connection at a time.

   load_client PORT RATE SECONDS CONNECTIONS < request

   Sends the request on its input, which may have any head and body, at Poisson instants of RATE a
   second; with a RATE of 0, as fast as answers come (SECONDS is then the number of requests).
   Latencies count from the instant a request was due. Prints: p50 and p99 in seconds, answers a
   second, errors. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

enum { MOST = 1 << 16 };
struct connection { int file; double due; long got; char data[MOST + 1]; };

static char request[1 << 22];
static size_t size;

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + 1e-9 * t.tv_nsec;
}

static void fail(const char *what) { perror(what); exit(1); }

static void start(struct connection *each, double due) {
    each->due = due;
    each->got = 0;
    for (size_t sent = 0; sent < size;) {
        ssize_t count = send(each->file, request + sent, size - sent, 0);
        if (count < 0) fail("send");
        sent += count;
    }
}

/* Read what has come: 0 for an answer that is not whole, 1 for a good one, -1 for another. */
static int receive(struct connection *each) {
    ssize_t count = recv(each->file, each->data + each->got, MOST - each->got, 0);
    if (count <= 0) fail("the server hung up");
    each->got += count;
    each->data[each->got] = 0;
    char *body = memmem(each->data, each->got, "\r\n\r\n", 4);
    char *length = strcasestr(each->data, "content-length: ");
    if (!body || !length || each->data + each->got < body + 4 + atol(length + 16)) return 0;
    return strncmp(each->data, "HTTP/1.1 200", 12) ? -1 : 1;
}

static int compare(const void *a, const void *b) {
    return (*(double *)a > *(double *)b) - (*(double *)a < *(double *)b);
}

int main(int argc, char **argv) {
    if (argc != 5) return 2;
    double rate = atof(argv[2]);
    long total = rate ? rate * atof(argv[3]) : atol(argv[3]), count = atol(argv[4]);
    size = fread(request, 1, sizeof request, stdin);
    double *due = calloc(total, sizeof *due), *taken = calloc(total, sizeof *taken);
    struct connection *all = calloc(count, sizeof *all), **idle = calloc(count, sizeof *idle);
    int loop = epoll_create1(0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    inet_pton(AF_INET, "127.0.0.1", &to.sin_addr);
    for (long k = 0; k < count; k++) {
        idle[k] = &all[k];
        all[k].file = socket(AF_INET, SOCK_STREAM, 0);
        if (connect(all[k].file, (struct sockaddr *)&to, sizeof to)) fail("connect");
        setsockopt(all[k].file, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &all[k]};
        epoll_ctl(loop, EPOLL_CTL_ADD, all[k].file, &event);
    }
    srand48(1);
    double began = now() + 0.05, at = began;
    for (long k = 0; k < total; k++) due[k] = at += rate ? -log(1 - drand48()) / rate : 0;
    long free_count = count, next = 0, done = 0, good = 0;
    while (done < total) {
        double instant = now();
        while (free_count && next < total && due[next] <= instant) {
            start(idle[--free_count], rate ? due[next] : instant);
            next++;
        }
        struct timespec wait = {1, 0};
        if (free_count && next < total) {
            double left = fmax(0, due[next] - now());
            wait.tv_sec = (time_t)left;
            wait.tv_nsec = (long)(1e9 * (left - (time_t)left));
        }
        struct epoll_event events[256];
        int ready = epoll_pwait2(loop, events, 256, &wait, NULL);
        for (int k = 0; k < ready; k++) {
            struct connection *each = events[k].data.ptr;
            int outcome = receive(each);
            if (!outcome) continue;
            done++;
            if (outcome > 0) taken[good++] = now() - each->due;
            idle[free_count++] = each;
        }
    }
    double rate_reached = total / (now() - began);
    qsort(taken, good, sizeof *taken, compare);
    if (!good) taken[0] = NAN;
    long half = good / 2, high = (long)(0.99 * good);
    printf("%.6f %.6f %.0f %ld\n", taken[half], taken[high], rate_reached, total - good);
}
