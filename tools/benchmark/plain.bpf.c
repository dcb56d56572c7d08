/* The comparator: what a C programmer writes first, compiled by clang -O2.
 *
 * BTF-typed raw tracepoints on the entry and exit of all system calls; the entry time in task storage; the descriptor
 * followed to its file; a 24-byte key; calls, bytes, errors and three power-of-two histograms, added to atomically.
 * It knows read, write, pread64 and pwrite64 on x86_64, and keeps neither names, offsets, runs nor anything else.
 *
 * Compiled with -DBARE it is the same without any latency: a program at the exit alone, which takes what was asked for
 * from the registers, where the system call has left it.
 *
 * Compiled with -DTYPED it reads the file by typed loads (bpf_rdonly_cast, Linux 6.2) and not by bpf_probe_read_kernel,
 * which is the better part of its time: whoever wants to be faster than C must be compared with that.
 *
 * The kernel's structures are declared with what is used of them; the loader finds the offsets (CO-RE).
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

typedef __u64 u64;
typedef __u32 u32;

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct pt_regs { unsigned long dx, si, di, orig_ax; };
struct super_block { u32 s_dev; };
struct inode { struct super_block *i_sb; unsigned long i_ino; };
struct vfsmount;
struct path { struct vfsmount *mnt; };
struct file { struct inode *f_inode; struct path f_path; };
struct fdtable { unsigned int max_fds; struct file **fd; };
struct files_struct { struct fdtable *fdt; };
struct task_struct { int tgid; struct files_struct *files; };
#pragma clang attribute pop

#ifdef TYPED
extern void *bpf_rdonly_cast(const void *object, u32 type) __ksym;
#define FILE_AT(pointer) ((struct file *)bpf_rdonly_cast(pointer, bpf_core_type_id_kernel(struct file)))
#define GET(...) GET_TYPED(__VA_ARGS__, LAST3, LAST2)(__VA_ARGS__)
#define GET_TYPED(a, b, c, name, ...) name
#define LAST2(a, b) ((a)->b)
#define LAST3(a, b, c) ((a)->b->c)
#else
#define FILE_AT(pointer) (pointer)
#define GET(...) BPF_CORE_READ(__VA_ARGS__)
#endif

#define SIZES 33
#define LATENCIES 44

struct entry {
	u64 entered;
	u64 requested;
	u32 fd;
	u32 call;
};

struct key {
	u64 inode;
	u64 mount;
	u32 device;
	u32 call;
};

struct stats {
	u64 calls;
	u64 bytes;
	u64 errors;
	u64 requested[SIZES];
	u64 completed[SIZES];
#ifndef BARE
	u64 latency[LATENCIES];
#endif
};

#ifndef BARE
struct {
	__uint(type, BPF_MAP_TYPE_TASK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct entry);
} entries SEC(".maps");
#endif

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, u32);
	__type(value, u32);
} targets SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 65536);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct key);
	__type(value, struct stats);
} files SEC(".maps");

static const struct stats zeros;

static __always_inline int is_traced(long call)
{
	return call == 0 || call == 1 || call == 17 || call == 18;	/* read, write, pread64, pwrite64 */
}

static __always_inline u32 bucket(u64 value)
{
	u32 log = 0, shift;

	if (!value)
		return 0;
	shift = (value > 0xffffffff) << 5; value >>= shift; log |= shift;
	shift = (value > 0xffff) << 4; value >>= shift; log |= shift;
	shift = (value > 0xff) << 3; value >>= shift; log |= shift;
	shift = (value > 0xf) << 2; value >>= shift; log |= shift;
	shift = (value > 0x3) << 1; value >>= shift; log |= shift;
	log |= value >> 1;
	return log + 1;
}

static __always_inline void add(u64 *histogram, u32 size, u64 value)
{
	u32 index = bucket(value);

	if (index >= size)
		index = size - 1;
	__sync_fetch_and_add(&histogram[index], 1);
}

static __always_inline int is_target(void)
{
	u32 tgid = bpf_get_current_pid_tgid() >> 32;

	return bpf_map_lookup_elem(&targets, &tgid) != 0;
}

static __always_inline struct file *file_of(struct task_struct *task, u32 fd)
{
	struct fdtable *table = task->files->fdt;
	struct file *file = 0;

	if (fd < table->max_fds)
		bpf_probe_read_kernel(&file, sizeof(file), table->fd + fd);
	return file ? FILE_AT(file) : 0;
}

/* Counts a call; returns its record, or nothing if the call has failed or belongs to no file. */
static __always_inline struct stats *count(struct task_struct *task, u32 call, u32 fd, u64 requested, long result)
{
	struct stats *stats;
	struct inode *inode;
	struct file *file = file_of(task, fd);
	struct key key = {};

	if (!file)
		return 0;
	inode = GET(file, f_inode);
	key.inode = GET(inode, i_ino);
	key.device = GET(inode, i_sb, s_dev);
	key.mount = (u64)GET(file, f_path.mnt);
	key.call = call;
	stats = bpf_map_lookup_elem(&files, &key);
	if (!stats) {
		bpf_map_update_elem(&files, &key, &zeros, BPF_NOEXIST);
		stats = bpf_map_lookup_elem(&files, &key);
		if (!stats)
			return 0;
	}
	__sync_fetch_and_add(&stats->calls, 1);
	add(stats->requested, SIZES, requested);
	if (result < 0) {
		__sync_fetch_and_add(&stats->errors, 1);
		return 0;
	}
	__sync_fetch_and_add(&stats->bytes, result);
	add(stats->completed, SIZES, result);
	return stats;
}

#ifdef BARE

SEC("tp_btf/sys_exit")
int leave(u64 *context)
{
	struct pt_regs *regs = (struct pt_regs *)context[0];
	long call = (long)regs->orig_ax;

	if (is_traced(call) && is_target())
		count(bpf_get_current_task_btf(), call, regs->di, regs->dx, (long)context[1]);
	return 0;
}

#else

SEC("tp_btf/sys_enter")
int enter(u64 *context)
{
	struct pt_regs *regs = (struct pt_regs *)context[0];
	long call = (long)context[1];
	struct entry *entry;

	if (!is_traced(call) || !is_target())
		return 0;
	entry = bpf_task_storage_get(&entries, bpf_get_current_task_btf(), 0, BPF_LOCAL_STORAGE_GET_F_CREATE);
	if (!entry)
		return 0;
	entry->fd = regs->di;
	entry->requested = regs->dx;
	entry->call = call;
	entry->entered = bpf_ktime_get_ns();
	return 0;
}

SEC("tp_btf/sys_exit")
int leave(u64 *context)
{
	struct pt_regs *regs = (struct pt_regs *)context[0];
	struct task_struct *task;
	struct entry *entry;
	struct stats *stats;
	u64 now;

	if (!is_traced((long)regs->orig_ax))
		return 0;
	task = bpf_get_current_task_btf();
	entry = bpf_task_storage_get(&entries, task, 0, 0);
	if (!entry || !entry->entered)
		return 0;
	now = bpf_ktime_get_ns();
	stats = count(task, entry->call, entry->fd, entry->requested, (long)context[1]);
	if (stats)
		add(stats->latency, LATENCIES, now - entry->entered);
	entry->entered = 0;
	return 0;
}

#endif

char LICENSE[] SEC("license") = "GPL";
