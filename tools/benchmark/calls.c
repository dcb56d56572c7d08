/* The measured loop: makes system calls when told to and says what one of them took.  It takes precedence over everything
 * else that wants a CPU, if it may, so that two threads run at once on a machine that has other things to do.
 *
 *     calls FILE CPU
 *
 * Each line on standard input, "WHAT COUNT THREADS", makes every thread do WHAT COUNT times and is answered with a line:
 * nanoseconds for each time, and the share of the time, at most 1, in which the thread that waited longest had a CPU.
 * Thread i runs on CPU + i, modulo the CPUs there are.  WHAT is
 *
 *     pread64, pwrite64     64 bytes at offset 0 of FILE, one descriptor for all threads
 *     getppid
 *     aio_D                 a request of Linux AIO: D at a time are submitted, and then waited for
 *     uring_D               the same of io_uring
 *     process               fork, exec, a read of FILE, exit, and a wait for all that
 *
 * The answer to a line that cannot be done is -errno and 0.
 *
 * It is the median over blocks, each shorter than a scheduler's time slice: blocks in which somebody else had the CPU
 * do not matter unless they are half of all.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 512
#define BYTES 64
#define DEPTH 64
#define MAX_THREADS 64

struct ring {
	int descriptor;
	unsigned int *sq_tail, *cq_head, *cq_tail, sq_mask;
	struct io_uring_sqe *entries;
};

struct thread {
	pthread_t id;
	int cpu, failed;
	double median, share;
	aio_context_t aio;
	struct ring ring;
	char data[DEPTH][BYTES];
};

static int file, first_cpu, cpus;
static const char *self, *path;
static char what[16];
static long blocks, depth, block;
static int (*work)(struct thread *);
static pthread_barrier_t start;

static int do_pread64(struct thread *t)
{
	for (int i = 0; i < BLOCK; i++)
		syscall(SYS_pread64, file, t->data[0], BYTES, 0L);
	return 0;
}

static int do_pwrite64(struct thread *t)
{
	for (int i = 0; i < BLOCK; i++)
		syscall(SYS_pwrite64, file, t->data[0], BYTES, 0L);
	return 0;
}

static int do_getppid(struct thread *t)
{
	(void)t;
	for (int i = 0; i < BLOCK; i++)
		syscall(SYS_getppid);
	return 0;
}

static int do_aio(struct thread *t)
{
	struct iocb requests[DEPTH], *all[DEPTH];
	struct io_event events[DEPTH];

	memset(requests, 0, sizeof(requests));
	for (long i = 0; i < depth; i++) {
		requests[i].aio_lio_opcode = IOCB_CMD_PREAD;
		requests[i].aio_fildes = (unsigned int)file;
		requests[i].aio_buf = (unsigned long)t->data[i];
		requests[i].aio_nbytes = BYTES;
		all[i] = &requests[i];
	}
	for (long done = 0; done < BLOCK; done += depth)
		if (syscall(SYS_io_submit, t->aio, depth, all) != depth ||
		    syscall(SYS_io_getevents, t->aio, depth, depth, events, NULL) != depth)
			return errno ? errno : EIO;
	return 0;
}

static int make_ring(struct ring *ring)
{
	struct io_uring_params params;
	char *sq, *cq;
	unsigned int *indexes;

	memset(&params, 0, sizeof(params));
	ring->descriptor = (int)syscall(SYS_io_uring_setup, DEPTH, &params);
	if (ring->descriptor < 0)
		return errno;
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * sizeof(int), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring->descriptor, IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe), PROT_READ | PROT_WRITE,
		  MAP_SHARED | MAP_POPULATE, ring->descriptor, IORING_OFF_CQ_RING);
	ring->entries = mmap(NULL, params.sq_entries * sizeof(struct io_uring_sqe), PROT_READ | PROT_WRITE,
			     MAP_SHARED | MAP_POPULATE, ring->descriptor, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || ring->entries == MAP_FAILED)
		return errno;
	ring->sq_tail = (unsigned int *)(sq + params.sq_off.tail);
	ring->sq_mask = *(unsigned int *)(sq + params.sq_off.ring_mask);
	ring->cq_head = (unsigned int *)(cq + params.cq_off.head);
	ring->cq_tail = (unsigned int *)(cq + params.cq_off.tail);
	indexes = (unsigned int *)(sq + params.sq_off.array);
	for (unsigned int i = 0; i < params.sq_entries; i++)
		indexes[i] = i;
	return 0;
}

static int do_uring(struct thread *t)
{
	struct ring *ring = &t->ring;

	for (long done = 0; done < BLOCK; done += depth) {
		unsigned int tail = *ring->sq_tail;

		for (long i = 0; i < depth; i++, tail++) {
			struct io_uring_sqe *entry = &ring->entries[tail & ring->sq_mask];

			memset(entry, 0, sizeof(*entry));
			entry->opcode = IORING_OP_READ;
			entry->fd = file;
			entry->addr = (unsigned long)t->data[i];
			entry->len = BYTES;
		}
		__atomic_store_n(ring->sq_tail, tail, __ATOMIC_RELEASE);
		if (syscall(SYS_io_uring_enter, ring->descriptor, depth, depth, IORING_ENTER_GETEVENTS, NULL, 0) != depth)
			return errno ? errno : EIO;
		if (__atomic_load_n(ring->cq_tail, __ATOMIC_ACQUIRE) - *ring->cq_head != depth)
			return EIO;
		__atomic_store_n(ring->cq_head, *ring->cq_head + (unsigned int)depth, __ATOMIC_RELEASE);
	}
	return 0;
}

static int do_process(struct thread *t)
{
	int status;
	pid_t child = fork();

	(void)t;
	if (child == 0) {
		execl(self, self, path, NULL);
		_exit(127);
	}
	if (child < 0 || waitpid(child, &status, 0) < 0)
		return errno;
	return status ? EIO : 0;
}

static int be_process(const char *name)
{
	char data[BYTES];
	int descriptor = open(name, O_RDONLY | O_CLOEXEC);

	return descriptor < 0 || read(descriptor, data, sizeof(data)) != sizeof(data);
}

static int by_size(const void *a, const void *b)
{
	long x = *(const long *)a, y = *(const long *)b;

	return (x > y) - (x < y);
}

static void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu % cpus, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* What it forks, and the threads that it makes, go without. */
static void take_precedence(void)
{
	struct sched_param lowest = {.sched_priority = 1};

	sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &lowest);
}

static int prepare(struct thread *t)
{
	if (work == do_aio && syscall(SYS_io_setup, DEPTH, &t->aio))
		return errno;
	return work == do_uring ? make_ring(&t->ring) : 0;
}

static double seconds(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void *run(void *argument)
{
	struct thread *t = argument;
	long *took = calloc(blocks, sizeof(*took));
	double begun, used;

	pin(t->cpu);
	if (work != do_process)
		take_precedence();
	t->failed = prepare(t);
	pthread_barrier_wait(&start);
	begun = seconds(CLOCK_MONOTONIC);
	used = seconds(CLOCK_THREAD_CPUTIME_ID);
	for (long i = 0; i < blocks && !t->failed; i++) {
		struct timespec from, to;

		clock_gettime(CLOCK_MONOTONIC, &from);
		t->failed = work(t);
		clock_gettime(CLOCK_MONOTONIC, &to);
		took[i] = (to.tv_sec - from.tv_sec) * 1000000000L + to.tv_nsec - from.tv_nsec;
	}
	t->share = (seconds(CLOCK_THREAD_CPUTIME_ID) - used) / (seconds(CLOCK_MONOTONIC) - begun);
	qsort(took, blocks, sizeof(*took), by_size);
	t->median = (double)took[blocks / 2] / block;
	free(took);
	if (t->aio)
		syscall(SYS_io_destroy, t->aio);
	if (t->ring.descriptor)
		close(t->ring.descriptor);	/* its memory stays mapped: a page or two a measurement */
	return NULL;
}

static int choose(void)
{
	block = BLOCK;
	depth = 0;
	if (sscanf(what, "aio_%ld", &depth) == 1)
		work = do_aio;
	else if (sscanf(what, "uring_%ld", &depth) == 1)
		work = do_uring;
	else if (!strcmp(what, "pread64"))
		work = do_pread64;
	else if (!strcmp(what, "pwrite64"))
		work = do_pwrite64;
	else if (!strcmp(what, "getppid"))
		work = do_getppid;
	else if (!strcmp(what, "process"))
		work = do_process, block = 1;
	else
		return 0;
	return depth >= 0 && depth <= DEPTH && (!depth || BLOCK % depth == 0);
}

static double measure(long count, long threads, double *share)
{
	static struct thread all[MAX_THREADS];
	double sum = 0;
	int failed = 0;

	blocks = count / block;
	*share = 1;
	memset(all, 0, sizeof(all));
	pthread_barrier_init(&start, NULL, (unsigned)threads);
	for (long i = 0; i < threads; i++) {
		all[i].cpu = first_cpu + (int)i;
		if (pthread_create(&all[i].id, NULL, run, &all[i]))
			exit(3);
	}
	for (long i = 0; i < threads; i++) {
		pthread_join(all[i].id, NULL);
		sum += all[i].median;
		*share = all[i].share < *share ? all[i].share : *share;
		failed = failed ? failed : all[i].failed;
	}
	pthread_barrier_destroy(&start);
	return failed ? -failed : sum / (double)threads;
}

int main(int argc, char **argv)
{
	long count, threads;
	double ns, share;

	if (argc == 2)
		return be_process(argv[1]);
	if (argc != 3 || (file = open(argv[1], O_RDWR | O_CLOEXEC)) < 0)
		return 2;
	self = argv[0];
	path = argv[1];
	first_cpu = atoi(argv[2]);
	cpus = (int)sysconf(_SC_NPROCESSORS_ONLN);
	while (scanf("%15s %ld %ld", what, &count, &threads) == 3) {
		if (!choose() || count < block || threads < 1 || threads > MAX_THREADS)
			return 2;
		ns = measure(count, threads, &share);
		printf("%.3f %.3f\n", ns, ns < 0 ? 0 : share);
		fflush(stdout);
	}
	return 0;
}
