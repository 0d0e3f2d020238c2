/* See spawn.h. */
#include "run/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/clock.h"
#include "core/text.h"
#include "run/netns.h"

extern char **environ;

char **spawn_split(const char *text, int *error)
{
    size_t size = strlen(text);
    /* At most one word for two characters, and one more; the words' bytes behind the array. */
    size_t words_max = size / 2 + 2;
    char **words = malloc((words_max + 1) * sizeof(*words) + size + words_max);
    size_t count = 0;

    *error = words == NULL ? -ENOMEM : 0;
    if (words == NULL)
        return NULL;
    char *out = (char *)(words + words_max + 1);
    char quote = '\0';
    bool in_word = false;
    for (const char *p = text; *p != '\0'; p++) {
        bool blank = *p == ' ' || *p == '\t' || *p == '\n';
        if (quote == '\0' && blank) {
            if (in_word)
                *out++ = '\0';
            in_word = false;
            continue;
        }
        if (!in_word)
            words[count++] = out;
        in_word = true;
        if (quote != '\0' && *p == quote)
            quote = '\0';
        else if (quote == '\0' && (*p == '\'' || *p == '"'))
            quote = *p;
        else if (*p == '\\' && quote != '\'' && p[1] != '\0')
            *out++ = *++p;
        else
            *out++ = *p;
    }
    if (in_word)
        *out = '\0';
    words[count] = NULL;
    if (quote != '\0') {
        free(words);
        *error = -EINVAL;
        return NULL;
    }
    return words;
}

/* Between fork and exec: async-signal-safe calls only. */
static void child_exec(char *const *argv, const struct spawn_place *place, int control, int err_fd,
                       int report)
{
    sigset_t none;
    int failed = 0;

    setpgid(0, 0);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGINT, SIG_DFL);
    signal(SIGTERM, SIG_DFL);
    signal(SIGPIPE, SIG_DFL);
    signal(SIGXFSZ, SIG_DFL);
    if (place != NULL)
        failed = -netns_enter(place->user_ns, place->net_ns);
    if (failed == 0 && dup2(control, STDIN_FILENO) >= 0 && dup2(control, STDOUT_FILENO) >= 0 &&
        dup2(err_fd, STDERR_FILENO) >= 0)
        execvp(argv[0], argv);
    if (failed == 0)
        failed = errno;
    if (write(report, &failed, sizeof(failed)) < 0)
        _exit(126);
    _exit(127);
}

static char **join_words(char **first, char *const *second)
{
    size_t count = 0, at = 0;

    for (size_t i = 0; first != NULL && first[i] != NULL; i++)
        count++;
    for (size_t i = 0; second[i] != NULL; i++)
        count++;
    char **all = calloc(count + 1, sizeof(*all));
    if (all == NULL)
        return NULL;
    for (size_t i = 0; first != NULL && first[i] != NULL; i++)
        all[at++] = first[i];
    for (size_t i = 0; second[i] != NULL; i++)
        all[at++] = second[i];
    return all;
}

static int start_words(struct spawn *child, const struct spawn_place *place, char *const *words,
                       struct lab_error *err)
{
    int control[2] = {-1, -1}, errors[2] = {-1, -1}, report[2] = {-1, -1}, failed = 0, r = 0;

    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, control) < 0 ||
        pipe2(errors, O_CLOEXEC) < 0 || pipe2(report, O_CLOEXEC) < 0) {
        r = lab_fail(err, errno, "cannot start %s: %s", words[0], strerror(errno));
        goto out;
    }
    child->pid = fork();
    if (child->pid == 0)
        child_exec(words, place, control[1], errors[1], report[1]);
    if (child->pid < 0) {
        r = lab_fail(err, errno, "cannot start %s: %s%s", words[0], strerror(errno),
                     errno == EAGAIN ? "; more processes than `ulimit -u` allows" : "");
        child->pid = 0;
        goto out;
    }
    /* Both do it, so that it holds whoever runs first. */
    setpgid(child->pid, child->pid);
    child->pidfd = (int)syscall(SYS_pidfd_open, child->pid, 0);
    close(report[1]);
    report[1] = -1;
    if (read(report[0], &failed, sizeof(failed)) == sizeof(failed)) {
        waitpid(child->pid, NULL, 0);
        if (child->pidfd >= 0)
            close(child->pidfd);
        child->pid = 0;
        r = lab_fail(err, failed, "cannot start %s: %s", words[0], strerror(failed));
        goto out;
    }
    channel_open(&child->channel, control[0], control[0]);
    child->err_fd = errors[0];
    fcntl(child->err_fd, F_SETFL, O_NONBLOCK);
    control[0] = errors[0] = -1;
out:
    for (unsigned i = 0; i < 2; i++) {
        if (control[i] >= 0)
            close(control[i]);
        if (errors[i] >= 0)
            close(errors[i]);
        if (report[i] >= 0)
            close(report[i]);
    }
    return r;
}

int spawn_start(struct spawn *child, const struct spawn_place *place, const char *via,
                char *const *argv, struct lab_error *err)
{
    char **prefix = NULL;
    int r = 0;

    memset(child, 0, sizeof(*child));
    child->pidfd = child->err_fd = child->channel.in = child->channel.out = -1;
    if (via != NULL && (prefix = spawn_split(via, &r)) == NULL)
        return lab_fail(err, -r, "'%s' cannot be split into words: a quote is left open", via);
    char **words = join_words(prefix, argv);
    r = words != NULL ? start_words(child, place, words, err)
                      : lab_fail(err, ENOMEM, "no memory to start %s", argv[0]);
    free(words);
    free(prefix);
    return r;
}

void spawn_listen(struct spawn *child)
{
    char piece[1024];
    ssize_t n;

    while (child->err_fd >= 0 && (n = read(child->err_fd, piece, sizeof(piece))) != 0) {
        if (n < 0)
            return; /* nothing now */
        size_t room = sizeof(child->words) - 1, size = (size_t)n;
        if (child->words_size + size > room) {
            size_t drop = child->words_size + size - room;
            memmove(child->words, child->words + drop, child->words_size - drop);
            child->words_size -= drop;
        }
        memcpy(child->words + child->words_size, piece, size);
        child->words_size += size;
    }
    if (child->err_fd >= 0) {
        close(child->err_fd);
        child->err_fd = -1;
    }
}

bool spawn_wait(struct spawn *child, uint64_t deadline_ns)
{
    while (child->pid != 0 && !child->reaped) {
        pid_t got = waitpid(child->pid, &child->status, WNOHANG);
        if (got == child->pid || (got < 0 && errno == ECHILD)) {
            child->reaped = true;
            break;
        }
        uint64_t now_ns = clock_ns();
        if (now_ns >= deadline_ns)
            return false;
        /* Its stderr too: a child must not hang on a full pipe. */
        struct pollfd wait[2] = {{.fd = child->pidfd, .events = POLLIN},
                                 {.fd = child->err_fd, .events = POLLIN}};
        uint64_t left_ms = (deadline_ns - now_ns) / NS_PER_MS + 1;
        poll(wait, 2, left_ms > 50 && child->pidfd < 0 ? 50 : (int)left_ms);
        spawn_listen(child);
    }
    spawn_listen(child);
    return true;
}

void spawn_end(struct spawn *child, uint64_t patience_ns)
{
    if (child->pid == 0)
        return;
    channel_close(&child->channel);
    /* The group, since what is named by `via` may itself have started somebody. */
    if (!spawn_wait(child, clock_ns() + patience_ns)) {
        kill(-child->pid, SIGTERM);
        if (!spawn_wait(child, clock_ns() + NS_PER_S)) {
            kill(-child->pid, SIGKILL);
            spawn_wait(child, CLOCK_NEVER - NS_PER_S);
        }
    }
    if (child->pidfd >= 0)
        close(child->pidfd);
    if (child->err_fd >= 0)
        close(child->err_fd);
    child->pidfd = child->err_fd = -1;
    child->pid = 0;
}

void spawn_describe(const struct spawn *child, const char *when, char *out, size_t out_size)
{
    size_t used = 0, from = 0, size = child->words_size;

    if (!child->reaped)
        used = (size_t)snprintf(out, out_size, "did not answer %s", when);
    else if (WIFSIGNALED(child->status))
        used = (size_t)snprintf(out, out_size, "was ended by signal %d (%s) %s",
                                WTERMSIG(child->status), strsignal(WTERMSIG(child->status)), when);
    else
        used = (size_t)snprintf(out, out_size, "ended with exit code %d %s",
                                WEXITSTATUS(child->status), when);
    if (used >= out_size)
        return;
    /* The end of what it said, on one line. */
    while (size > 0 && (child->words[size - 1] == '\n' || child->words[size - 1] == ' '))
        size--;
    if (size == 0)
        return;
    size_t room = out_size - used > 16 ? out_size - used - 16 : 0;
    if (size > room)
        from = size - room;
    used += (size_t)snprintf(out + used, out_size - used, "; last words: ");
    for (size_t i = from; i < size && used + 1 < out_size; i++) {
        unsigned char c = (unsigned char)child->words[i];
        out[used++] = c == '\n' ? '|' : (char)c;
    }
    out[used < out_size ? used : out_size - 1] = '\0';
    text_clean(out);
}
