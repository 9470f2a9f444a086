/* The shared main: the init table in this process, the whole life of a daemon in a child. */
#include "common/runtime/daemon.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/runtime/status_server.h"

struct owner {
	char trail[256];
	int fail_at;
	struct rt_daemon_run *run;
	struct rt_health *db;
	struct rt_timer drain_timer;
	struct rt_loop *loop;
};

static void mark(struct owner *o, const char *s)
{
	size_t n = strlen(o->trail);
	snprintf(o->trail + n, sizeof(o->trail) - n, "%s ", s);
}

#define PART(name, number)                                                                                             \
	static int name##_init(void *arg, const struct rt_daemon_env *env, struct lw_diag *diag)                       \
	{                                                                                                              \
		struct owner *o = arg;                                                                                 \
		(void)env;                                                                                             \
		if (o->fail_at == (number)) {                                                                          \
			lw_diag_set(diag, "no luck");                                                                  \
			return LW_EIO;                                                                                 \
		}                                                                                                      \
		mark(o, "+" #name);                                                                                    \
		return 0;                                                                                              \
	}                                                                                                              \
	static void name##_deinit(void *arg)                                                                           \
	{                                                                                                              \
		mark(arg, "-" #name);                                                                                  \
	}
PART(a, 1)
PART(b, 2)
PART(c, 3)

static const struct rt_daemon_part parts[] = {
	{"a", a_init, a_deinit}, {"b", b_init, b_deinit}, {"c", c_init, c_deinit}};

struct conf {
	struct rt_daemon_conf daemon;
	char *mode;
};

static const struct conf_item items[] = {
	RT_DAEMON_CONF(struct conf, daemon, "127.0.0.1:0"),
	{.key = "mode",
	 .type = CONF_STR,
	 .offset = offsetof(struct conf, mode),
	 .def = "",
	 .sentence = "What the test wants."},
};
static const struct conf_table table = CONF_TABLE(items, struct conf, NULL);

static void init_table_unwinds_in_reverse(void **state)
{
	(void)state;
	struct rt_daemon d = {.name = "test", .parts = parts, .n_parts = 3};
	struct rt_daemon_env env = {0};
	struct owner o = {0};
	struct lw_diag diag = {0};
	size_t n = 0;
	assert_int_equal(rt_daemon_parts_up(&d, &o, &env, &n, &diag), 0);
	assert_int_equal(n, 3);
	rt_daemon_parts_down(&d, &o, NULL, n);
	assert_string_equal(o.trail, "+a +b +c -c -b -a ");

	o = (struct owner){.fail_at = 3};
	assert_int_equal(rt_daemon_parts_up(&d, &o, &env, &n, &diag), LW_EIO);
	assert_string_equal(o.trail, "+a +b -b -a ");
	assert_string_equal(diag.text, "c: no luck");
}

/* --- a whole daemon in a child ----------------------------------------------------------------------------------- */

static int db_init(void *arg, const struct rt_daemon_env *env, struct lw_diag *diag)
{
	struct owner *o = arg;
	const struct conf *c = env->conf;
	o->run = env->run;
	o->loop = env->loop;
	if (strcmp(c->mode, "fail") == 0) {
		lw_diag_set(diag, "said no");
		return LW_EIO;
	}
	o->db = rt_health_add(env->run, "database");
	rt_health_set(o->db, strcmp(c->mode, "down") != 0, "a \"quoted\" detail");
	return 0;
}

static void db_deinit(void *arg)
{
	rt_timer_stop(&((struct owner *)arg)->drain_timer);
	dprintf(STDERR_FILENO, "deinit ran\n");
}

static void on_drained(struct rt_timer *t, void *arg)
{
	(void)t;
	rt_daemon_drained(((struct owner *)arg)->run);
}

static void drain(void *arg, struct rt_daemon_run *run)
{
	struct owner *o = arg;
	(void)run;
	dprintf(STDERR_FILENO, "draining\n");
	/* A child in mode "stuck" never says that it is drained. */
	rt_timer_init(&o->drain_timer, o->loop, "drain", on_drained, o);
	if (getenv("STUCK") == NULL)
		rt_timer_start(&o->drain_timer, 20);
}

static const struct rt_daemon_part real_parts[] = {{"database", db_init, db_deinit}};
static const struct rt_daemon daemon_table = {
	.name = "test-daemon",
	.metric_prefix = "longwave_test_",
	.sentence = "For the test.",
	.version = "1.2.3",
	.conf = &table,
	.common_offset = offsetof(struct conf, daemon),
	.owner_size = sizeof(struct owner),
	.parts = real_parts,
	.n_parts = 1,
	.drain = drain,
};

struct child {
	pid_t pid;
	int out;
	char text[16384];
	size_t n;
};

static void child_start(struct child *c, const char *mode, char **args)
{
	int fd[2];
	assert_int_equal(pipe(fd), 0);
	memset(c, 0, sizeof(*c));
	char *argv[8] = {"test-daemon"};
	int argc = 1;
	for (; args && args[argc - 1]; argc++)
		argv[argc] = args[argc - 1];
	fflush(NULL);
	c->pid = fork();
	if (c->pid == 0) {
		dup2(fd[1], 1);
		dup2(fd[1], 2);
		close(fd[0]);
		close(fd[1]);
		setenv("LONGWAVE_MODE", mode, 1);
		int rc = rt_daemon_main(argc, argv, &daemon_table);
		fflush(NULL);
		_exit(rc);
	}
	close(fd[1]);
	c->out = fd[0];
}

/* Waits for more of the child's output; false at its end. */
static bool child_more(struct child *c)
{
	struct pollfd pf = {.fd = c->out, .events = POLLIN};
	if (poll(&pf, 1, 60000) <= 0)
		fail_msg("nothing more after: %s", c->text);
	ssize_t n = read(c->out, c->text + c->n, sizeof(c->text) - 1 - c->n);
	c->n += n > 0 ? (size_t)n : 0;
	return n > 0;
}

/* Reads the child's output until `want` is in it (or the end of it when NULL). */
static const char *child_expect(struct child *c, const char *want)
{
	for (;;) {
		const char *p = want ? strstr(c->text, want) : NULL;
		if (p)
			return p;
		if (child_more(c))
			continue;
		if (want)
			fail_msg("no \"%s\" in: %s", want, c->text);
		return c->text;
	}
}

static int child_wait(struct child *c)
{
	int status;
	child_expect(c, NULL);
	close(c->out);
	assert_int_equal(waitpid(c->pid, &status, 0), c->pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static unsigned child_port(struct child *c)
{
	unsigned port = 0;
	const char *p = child_expect(c, "status_port=");
	while (!strchr(p, '\n'))
		assert_true(child_more(c));
	assert_int_equal(sscanf(p, "status_port=%u", &port), 1);
	return port;
}

static void get(unsigned port, const char *request, char *out, size_t cap)
{
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(write(fd, request, strlen(request)), (ssize_t)strlen(request));
	size_t n = 0;
	for (ssize_t r; (r = read(fd, out + n, cap - 1 - n)) > 0;)
		n += (size_t)r;
	out[n] = 0;
	close(fd);
}

static void life_of_a_daemon(void **state)
{
	(void)state;
	struct child c;
	child_start(&c, "", NULL);
	unsigned port = child_port(&c);
	static char text[65536];
	get(port, "GET /health HTTP/1.0\r\n\r\n", text, sizeof(text));
	assert_int_equal(strncmp(text, "HTTP/1.0 200 OK\r\n", 17), 0);
	assert_non_null(strstr(text, "\"status\":\"ok\""));
	get(port, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", text, sizeof(text));
	assert_non_null(strstr(text, "longwave_test_loop_turns_total "));
	assert_non_null(strstr(text, "longwave_test_dependency_up{name=\"database\"} 1\n"));
	assert_non_null(strstr(text, "process_resident_memory_bytes "));
	get(port, "GET /nothing HTTP/1.0\r\n\r\n", text, sizeof(text));
	assert_int_equal(strncmp(text, "HTTP/1.0 404 ", 13), 0);
	get(port, "POST /metrics HTTP/1.0\r\n\r\n", text, sizeof(text));
	assert_int_equal(strncmp(text, "HTTP/1.0 405 ", 13), 0);
	get(port, "nonsense\r\n\r\n", text, sizeof(text));
	assert_int_equal(strncmp(text, "HTTP/1.0 400 ", 13), 0);
	kill(c.pid, SIGTERM);
	assert_int_equal(child_wait(&c), 0);
	assert_non_null(strstr(c.text, "draining\n"));
	assert_non_null(strstr(strstr(c.text, "draining\n"), "deinit ran\n"));
	assert_non_null(strstr(c.text, "stopped"));
}

static void dependency_away_is_degraded_health(void **state)
{
	(void)state;
	struct child c;
	child_start(&c, "down", NULL);
	unsigned port = child_port(&c);
	static char text[65536];
	get(port, "GET /health HTTP/1.0\r\n\r\n", text, sizeof(text));
	assert_int_equal(strncmp(text, "HTTP/1.0 503 ", 13), 0);
	assert_non_null(strstr(text, "{\"status\":\"degraded\""));
	assert_non_null(strstr(text, "\"database\":{\"up\":false,\"detail\":\"a \\\"quoted\\\" detail\"}"));
	kill(c.pid, SIGTERM);
	assert_int_equal(child_wait(&c), 0);
}

static void second_signal_exits_at_once(void **state)
{
	(void)state;
	setenv("STUCK", "1", 1);
	struct child c;
	child_start(&c, "", NULL);
	child_port(&c);
	kill(c.pid, SIGINT);
	child_expect(&c, "draining\n");
	kill(c.pid, SIGINT);
	assert_int_equal(child_wait(&c), 1);
	assert_null(strstr(c.text, "deinit ran"));
	unsetenv("STUCK");
}

static void drain_that_never_ends_times_out(void **state)
{
	(void)state;
	setenv("STUCK", "1", 1);
	setenv("LONGWAVE_DRAIN_TIMEOUT", "50ms", 1);
	struct child c;
	child_start(&c, "", NULL);
	child_port(&c);
	kill(c.pid, SIGTERM);
	assert_int_equal(child_wait(&c), 0);
	assert_non_null(strstr(c.text, "drain timed out"));
	assert_non_null(strstr(c.text, "deinit ran"));
	unsetenv("STUCK");
	unsetenv("LONGWAVE_DRAIN_TIMEOUT");
}

static void failing_part_ends_the_start(void **state)
{
	(void)state;
	struct child c;
	child_start(&c, "fail", NULL);
	assert_int_equal(child_wait(&c), 1);
	assert_non_null(strstr(c.text, "cannot start detail=\"database: said no\""));
}

static void options_answer_and_exit(void **state)
{
	(void)state;
	struct child c;
	child_start(&c, "", (char *[]){"--version", NULL});
	assert_int_equal(child_wait(&c), 0);
	assert_string_equal(c.text, "longwave-test-daemon 1.2.3\n");
	child_start(&c, "", (char *[]){"--check", NULL});
	assert_int_equal(child_wait(&c), 0);
	child_start(&c, "", (char *[]){"--print-defaults", NULL});
	assert_int_equal(child_wait(&c), 0);
	assert_non_null(strstr(c.text, "metrics:\n"));
	child_start(&c, "", (char *[]){"-c", "/nonexistent.yml", "--check", NULL});
	assert_int_equal(child_wait(&c), 2);
	assert_non_null(strstr(c.text, "/nonexistent.yml: No such file"));

	char path[] = "/tmp/lw_daemon_XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(write(fd, "\nlog:\n  levl: info\n", 19), 19);
	close(fd);
	child_start(&c, "", (char *[]){"-c", path, "--check", NULL});
	assert_int_equal(child_wait(&c), 2);
	assert_non_null(strstr(c.text, ":3: unknown key \"log.levl\"; did you mean \"log.level\"?"));
	unlink(path);
}

static int ask(const char *bind, char *out, size_t cap)
{
	struct child c;
	setenv("LONGWAVE_METRICS__BIND", bind, 1);
	child_start(&c, "", (char *[]){"--health", NULL});
	int status = child_wait(&c);
	unsetenv("LONGWAVE_METRICS__BIND");
	snprintf(out, cap, "%s", c.text);
	return status;
}

static void health_option_asks_the_running_daemon(void **state)
{
	(void)state;
	static char text[16384];
	static const char *const modes[] = {"", "down"};
	char bind[64];
	unsigned port = 0;
	for (int i = 0; i < 2; i++) {
		struct child c;
		child_start(&c, modes[i], NULL);
		port = child_port(&c);
		snprintf(bind, sizeof(bind), "0.0.0.0:%u", port); /* asked over loopback */
		assert_int_equal(ask(bind, text, sizeof(text)), i);
		assert_non_null(strstr(text, i ? "{\"status\":\"degraded\"" : "{\"status\":\"ok\""));
		kill(c.pid, SIGTERM);
		assert_int_equal(child_wait(&c), 0);
	}
	/* It is gone now. */
	assert_int_equal(ask(bind, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "longwave-test-daemon: health: 127.0.0.1:"));
	assert_int_equal(ask("127.0.0.1:0", text, sizeof(text)), 1);
	assert_non_null(strstr(text, "no port that can be asked"));
	assert_int_equal(ask("", text, sizeof(text)), 1);
}

/* What answers is no daemon: it closes without a word. */
static void health_option_doubts_strangers(void **state)
{
	(void)state;
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	assert_int_equal(listen(fd, 4), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	fflush(NULL);
	pid_t stranger = fork();
	if (stranger == 0) {
		char part[256];
		int c = accept(fd, NULL, NULL);
		if (c >= 0 && read(c, part, sizeof(part)) > 0)
			dprintf(c, "220 mail.example ESMTP\r\n\r\n");
		_exit(0);
	}
	char at[64], text[1024];
	snprintf(at, sizeof(at), "127.0.0.1:%u", ntohs(a.sin_port));
	assert_int_equal(ask(at, text, sizeof(text)), 1);
	assert_non_null(strstr(text, "the answer is not one of this daemon"));
	close(fd);
	assert_int_equal(waitpid(stranger, NULL, 0), stranger);
}

static void hup_reloads_what_may_change(void **state)
{
	(void)state;
	char path[] = "/tmp/lw_daemon_XXXXXX";
	int fd = mkstemp(path);
	assert_int_equal(write(fd, "log:\n  level: info\n", 19), 19);
	struct child c;
	child_start(&c, "", (char *[]){"-c", path, NULL});
	child_port(&c);
	assert_int_equal(pwrite(fd, "log:\n  level: debug\n", 20, 0), 20);
	kill(c.pid, SIGHUP);
	child_expect(&c, "configuration reloaded");
	/* A key that needs a restart, then a wrong one. */
	assert_int_equal(pwrite(fd, "drain_timeout: 7s   \n", 21, 0), 21);
	kill(c.pid, SIGHUP);
	child_expect(&c, "needs a restart: drain_timeout");
	assert_int_equal(pwrite(fd, "drain_timeout: soon  \n", 21, 0), 21);
	kill(c.pid, SIGHUP);
	child_expect(&c, "expected a duration");
	close(fd);
	kill(c.pid, SIGTERM);
	assert_int_equal(child_wait(&c), 0);
	assert_non_null(strstr(c.text, "DEBUG test-daemon: part down"));
	unlink(path);
}

static void bind_text(void **state)
{
	(void)state;
	char host[64];
	unsigned port;
	assert_int_equal(rt_bind_parse("127.0.0.1:80", host, sizeof(host), &port), 0);
	assert_string_equal(host, "127.0.0.1");
	assert_int_equal(port, 80);
	assert_int_equal(rt_bind_parse(":9101", host, sizeof(host), &port), 0);
	assert_string_equal(host, "");
	assert_int_equal(rt_bind_parse("[::1]:1", host, sizeof(host), &port), 0);
	assert_string_equal(host, "::1");
	static const char *const bad[] = {"", "80", "::1:80", "a:", "a:99999", "a:-1", "a:80x", "a:0000080"};
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_true(rt_bind_parse(bad[i], host, sizeof(host), &port) < 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(init_table_unwinds_in_reverse),
		cmocka_unit_test(life_of_a_daemon),
		cmocka_unit_test(dependency_away_is_degraded_health),
		cmocka_unit_test(second_signal_exits_at_once),
		cmocka_unit_test(drain_that_never_ends_times_out),
		cmocka_unit_test(failing_part_ends_the_start),
		cmocka_unit_test(options_answer_and_exit),
		cmocka_unit_test(health_option_asks_the_running_daemon),
		cmocka_unit_test(health_option_doubts_strangers),
		cmocka_unit_test(hup_reloads_what_may_change),
		cmocka_unit_test(bind_text),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
