PRAGMA application_id = 1768911986;
PRAGMA user_version = 2;
BEGIN TRANSACTION;
CREATE TABLE calls (
    file_id INTEGER PRIMARY KEY,
    by_syscall TEXT NOT NULL
);
INSERT INTO "calls" VALUES(1,'{"close":[2,0],"fsync":[1,0,1000000000000000950,1000000000000000990,null,null,null,{"65536":1}],"open":[2,0],"pread64":[3,8192,1000000000000000001,1000000000000000900,{"EIO":1},{"4096":3},{"4096":2},{"512":2}]}');
INSERT INTO "calls" VALUES(2,'{"write":[9,9223372036854775807,1000000000000000003,1000000000000000004,{"ENOSPC":2},{"0":1,"1099511627776":8},{"1":7},{"4398046511104":7}]}');
INSERT INTO "calls" VALUES(3,'{}');
CREATE TABLE file (
    id INTEGER PRIMARY KEY,
    mnt_ns INTEGER NOT NULL,
    path BLOB NOT NULL,
    renamed_to BLOB,
    device TEXT NOT NULL,
    inode INTEGER NOT NULL,
    fstype TEXT NOT NULL,
    incarnations INTEGER NOT NULL,
    deleted INTEGER NOT NULL,
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
INSERT INTO "file" VALUES(1,4026531841,X'2F7661722F6C69622F78',NULL,'8:1',131,'ext4',1,0,0,2,2,8192,0,0,0,0,0,8191,1,0,1000000000000000001,1000000000000000900,NULL,NULL,1000000000000000990,'{"8192":1}',NULL,'{"0":1}',8,1,1,66560);
INSERT INTO "file" VALUES(2,4026531841,X'2F7372762FFF0A276E6577',X'2F7372762F66696E616C','0:45',-2,'overlay',3,1,1,7,6,0,9223372036854775807,5,6,7,1,1099511627776,0,8,NULL,NULL,1000000000000000003,1000000000000000004,NULL,NULL,'{"1":1,"1099511627776":2}',NULL,9,2,0,30786325577728);
INSERT INTO "file" VALUES(3,4026532999,X'2F7661722F6C69622F78',NULL,'0:0',0,'',1,0,0,0,0,0,0,0,0,0,NULL,NULL,0,0,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,0,0,0,0);
CREATE TABLE lost (what TEXT PRIMARY KEY, count INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "lost" VALUES('calls',2);
INSERT INTO "lost" VALUES('events',1);
INSERT INTO "lost" VALUES('files',0);
INSERT INTO "lost" VALUES('iovecs',3);
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "meta" VALUES('attach','"raw_tracepoint"');
INSERT INTO "meta" VALUES('command','["cp", "a b", "\udcff"]');
INSERT INTO "meta" VALUES('coverage','{"synchronous": "full", "io_uring": "none: needs Linux 5.6"}');
INSERT INTO "meta" VALUES('ended_ns','1000000005000000000');
INSERT INTO "meta" VALUES('filters','{"comm": ["cp"], "follow": true}');
INSERT INTO "meta" VALUES('host','"db1"');
INSERT INTO "meta" VALUES('kernel','"6.1.0-18-amd64"');
INSERT INTO "meta" VALUES('machine','"x86_64"');
INSERT INTO "meta" VALUES('overhead','{"bystander_ns": 21.5, "own_ns": 100000000}');
INSERT INTO "meta" VALUES('started_ns','1000000000000000000');
INSERT INTO "meta" VALUES('version','"0.1.0"');
CREATE TABLE unattributed (
    syscall TEXT NOT NULL,
    errno TEXT NOT NULL,
    count INTEGER NOT NULL,
    PRIMARY KEY (syscall, errno)
) WITHOUT ROWID;
INSERT INTO "unattributed" VALUES('close','EBADF',2);
INSERT INTO "unattributed" VALUES('read','EBADF',3);
INSERT INTO "unattributed" VALUES('read','EIO',1);
CREATE VIEW syscall AS SELECT file_id, call.key AS name, json_extract(call.value, '$[0]') AS calls, coalesce(json_extract(call.value, '$[1]'), 0) AS bytes, json_extract(call.value, '$[2]') AS first_ns, json_extract(call.value, '$[3]') AS last_ok_ns, json_extract(call.value, '$[4]') AS errors, json_extract(call.value, '$[5]') AS requested, json_extract(call.value, '$[6]') AS completed, json_extract(call.value, '$[7]') AS latency_ns FROM calls, json_each(by_syscall) AS call;
CREATE VIEW histogram AS SELECT file_id, name AS syscall, 'requested' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.requested) AS bin UNION ALL SELECT file_id, name AS syscall, 'completed' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.completed) AS bin UNION ALL SELECT file_id, name AS syscall, 'latency_ns' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.latency_ns) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'sequential_read' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.sequential_read) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'sequential_write' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.sequential_write) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'bytes_between_syncs' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.bytes_between_syncs) AS bin;
CREATE VIEW error AS SELECT file_id, name AS syscall, bin.key AS errno, bin.value AS count FROM syscall, json_each(syscall.errors) AS bin;
CREATE INDEX file_path ON file (path, mnt_ns);
CREATE INDEX file_renamed_to ON file (renamed_to) WHERE renamed_to IS NOT NULL;
COMMIT;
