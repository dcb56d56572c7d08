PRAGMA application_id = 1768911986;
PRAGMA user_version = 3;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES('attach','"raw_tracepoint"');
INSERT INTO meta VALUES('command','["sh", "/tmp/known.sh"]');
INSERT INTO meta VALUES('coverage','{"synchronous": "full", "sendfile": "full", "aio": "full", "io_uring": "full", "durability": "full", "contents": "full", "mmap": "marked: mapped memory is read and written without a system call", "32-bit tasks": "none: left out; what was seen of them is counted in lost"}');
INSERT INTO meta VALUES('ended_ns','1795930241638149570');
INSERT INTO meta VALUES('filters','{"path": ["/tmp/known/*"], "follow": true}');
INSERT INTO meta VALUES('host','"vm"');
INSERT INTO meta VALUES('kernel','"6.18.44"');
INSERT INTO meta VALUES('machine','"x86_64"');
INSERT INTO meta VALUES('overhead','{"program_runs": 4267, "program_ns": 717612, "program_share": 0.013701, "sampled_ns": 51561709, "bystander_ns": 75.1, "own_ns": 21575399, "own_share": 0.411921, "start_ns": 829014770}');
INSERT INTO meta VALUES('started_ns','1795930241579453403');
INSERT INTO meta VALUES('version','"0.1.0"');
CREATE TABLE lost (what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO lost VALUES('calls',0);
INSERT INTO lost VALUES('events',0);
INSERT INTO lost VALUES('files',0);
CREATE TABLE unattributed (
    syscall TEXT NOT NULL,
    errno TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (syscall, errno)
) WITHOUT ROWID;
INSERT INTO unattributed VALUES('open','ENOENT',62);
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    mnt_ns INTEGER NOT NULL,
    path BLOB NOT NULL,
    renamed_to BLOB,
    device TEXT NOT NULL,
    inode INTEGER NOT NULL,
    fstype TEXT NOT NULL,
    incarnations INTEGER NOT NULL,
    state TEXT,
    deleted INTEGER NOT NULL,
    unreachable INTEGER NOT NULL,
    mapped INTEGER NOT NULL,
    opens INTEGER NOT NULL,
    closes INTEGER NOT NULL,
    bytes_read INTEGER NOT NULL,
    bytes_written INTEGER NOT NULL,
    bytes_synced INTEGER NOT NULL,
    bytes_unsynced INTEGER NOT NULL,
    rewrites INTEGER NOT NULL,
    lowest_offset INTEGER,
    highest_offset INTEGER,
    direct_calls INTEGER NOT NULL,
    durable_writes INTEGER NOT NULL,
    first_read_ns INTEGER,
    last_read_ns INTEGER,
    first_write_ns INTEGER,
    last_write_ns INTEGER,
    last_sync_ns INTEGER,
    sequential_read TEXT,
    sequential_write TEXT,
    bytes_between_syncs TEXT,
    calls INTEGER NOT NULL,
    errors INTEGER NOT NULL,
    syncs INTEGER NOT NULL,
    busy_ns INTEGER NOT NULL
);
INSERT INTO file VALUES(1,4026531832,X'2f746d702f6b6e6f776e2f7772697474656e',NULL,'254:0',2147158,'ext4',1,'present',0,0,0,2,4,40960,40960,40960,0,0,0,40959,0,0,1795930241602410615,1795930241602461138,1795930241595019535,1795930241595049505,1795930241595537698,'{"32768":1}','{"32768":1}','{"32768":1}',23,0,1,290048);
INSERT INTO file VALUES(2,4026531832,X'2f746d702f6b6e6f776e2f782e746d70',X'2f746d702f6b6e6f776e2f78','254:0',2147161,'ext4',1,'deleted',0,0,0,1,1,0,6,0,6,0,0,5,0,0,NULL,NULL,1795930241613184439,1795930241613196371,NULL,NULL,'{"4":1}',NULL,3,0,0,8192);
CREATE TABLE calls (
    file_id INTEGER PRIMARY KEY,
    by_syscall TEXT NOT NULL
);
INSERT INTO calls VALUES(1,'{"open":[2],"close":[4],"read":[11,40960,1795930241602410615,1795930241602461138,null,{"4096":11},{"0":1,"4096":10},{"256":1,"512":4,"1024":5,"4096":1}],"write":[5,40960,1795930241595019535,1795930241595049505,null,{"8192":5},{"8192":5},{"2048":4,"8192":1}],"fsync":[1,0,1795930241595050227,1795930241595537698,null,null,null,{"262144":1}]}');
INSERT INTO calls VALUES(2,'{"open":[1],"close":[1],"write":[1,6,1795930241613184439,1795930241613196371,null,{"4":1},{"4":1},{"8192":1}]}');
CREATE VIEW syscall AS SELECT file_id, call.key AS name, json_extract(call.value, '$[0]') AS calls, coalesce(json_extract(call.value, '$[1]'), 0) AS bytes, json_extract(call.value, '$[2]') AS first_ns, json_extract(call.value, '$[3]') AS last_ok_ns, json_extract(call.value, '$[4]') AS errors, json_extract(call.value, '$[5]') AS requested, json_extract(call.value, '$[6]') AS completed, json_extract(call.value, '$[7]') AS latency_ns FROM calls, json_each(by_syscall) AS call;
CREATE VIEW histogram AS SELECT file_id, name AS syscall, 'requested' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.requested) AS bin UNION ALL SELECT file_id, name AS syscall, 'completed' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.completed) AS bin UNION ALL SELECT file_id, name AS syscall, 'latency_ns' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.latency_ns) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'sequential_read' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.sequential_read) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'sequential_write' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.sequential_write) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'bytes_between_syncs' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.bytes_between_syncs) AS bin;
CREATE VIEW error AS SELECT file_id, name AS syscall, bin.key AS errno, bin.value AS count FROM syscall, json_each(syscall.errors) AS bin;
CREATE INDEX file_path ON file (path, mnt_ns);
CREATE INDEX file_renamed_to ON file (renamed_to) WHERE renamed_to IS NOT NULL;
COMMIT;
