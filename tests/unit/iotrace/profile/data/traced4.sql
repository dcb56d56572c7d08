PRAGMA application_id = 1768911986;
PRAGMA user_version = 4;
PRAGMA foreign_keys=OFF;
BEGIN TRANSACTION;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES('attach','"raw_tracepoint"');
INSERT INTO meta VALUES('command','["sh", "/tmp/known.sh"]');
INSERT INTO meta VALUES('coverage','{"synchronous": "full", "sendfile": "full", "aio": "full", "io_uring": "full", "durability": "full", "contents": "full", "mmap": "marked: mapped memory is read and written without a system call", "32-bit tasks": "none: left out; what was seen of them is counted in lost"}');
INSERT INTO meta VALUES('ended_ns','1795930244090784144');
INSERT INTO meta VALUES('filters','{"path": ["/tmp/known/*"], "follow": true}');
INSERT INTO meta VALUES('host','"vm"');
INSERT INTO meta VALUES('kernel','"6.18.44"');
INSERT INTO meta VALUES('machine','"x86_64"');
INSERT INTO meta VALUES('overhead','{"program_runs": 5908, "program_ns": 958646, "program_share": 0.007211, "sampled_ns": 132172407, "bystander_ns": 77.6, "own_ns": 44616069, "own_share": 0.335614, "start_ns": 967501241}');
INSERT INTO meta VALUES('started_ns','1795930243950141010');
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
    ended_as BLOB,
    device TEXT NOT NULL,
    inode INTEGER NOT NULL,
    fstype TEXT NOT NULL,
    incarnations INTEGER NOT NULL,
    state TEXT,
    deleted INTEGER NOT NULL,
    unreachable INTEGER NOT NULL,
    size INTEGER,
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
    unaligned_calls INTEGER NOT NULL,
    unaligned_direct_calls INTEGER NOT NULL,
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
INSERT INTO file VALUES(1,4026531832,X'2f746d702f6b6e6f776e2f7772697474656e',NULL,NULL,'254:0',2146390,'ext4',1,'present',0,0,40960,0,2,4,40960,40960,40960,0,0,0,40959,0,0,0,0,1795930243982205843,1795930243982251797,1795930243974310381,1795930243974345292,1795930243977155058,'{"32768":1}','{"32768":1}','{"32768":1}',23,0,1,2896083);
INSERT INTO file VALUES(2,4026531832,X'2f746d702f6b6e6f776e2f782e746d70',X'2f746d702f6b6e6f776e2f78',X'2f746d702f6b6e6f776e2f78','254:0',2146589,'ext4',1,'deleted',0,0,6,0,1,1,0,6,0,6,0,0,5,0,1,0,0,NULL,NULL,1795930243983627382,1795930243983639344,NULL,NULL,'{"4":1}',NULL,3,0,0,44213);
CREATE TABLE calls (
    file_id INTEGER PRIMARY KEY,
    by_syscall TEXT NOT NULL
);
INSERT INTO calls VALUES(1,'{"open":[2,0,null,null,null,null,null,{"1792":1,"32768":1},36936,34918],"close":[4,0,null,null,null,null,null,{"384":2,"1280":1,"3584":1},5795,3594],"read":[11,40960,1795930243982205843,1795930243982251797,null,{"4096":11},{"0":1,"4096":10},{"256":1,"512":1,"640":2,"768":1,"1024":4,"1280":1,"5120":1},14988,5909,{"4096":11}],"write":[5,40960,1795930243974310381,1795930243974345292,null,{"8192":5},{"8192":5},{"2560":2,"3584":1,"5120":1,"12288":1},29591,14260,{"8192":5}],"fsync":[1,0,1795930243974346285,1795930243977155058,null,null,null,{"2621440":1},2808773,2808773]}');
INSERT INTO calls VALUES(2,'{"open":[1,0,null,null,null,null,null,{"28672":1},31651,31651],"close":[1,0,null,null,null,null,null,{"512":1},600,600],"write":[1,6,1795930243983627382,1795930243983639344,null,{"4":1},{"4":1},{"10240":1},11962,11962,{"6":1}]}');
CREATE VIEW syscall AS SELECT file_id, call.key AS name, json_extract(call.value, '$[0]') AS calls, coalesce(json_extract(call.value, '$[1]'), 0) AS bytes, json_extract(call.value, '$[2]') AS first_ns, json_extract(call.value, '$[3]') AS last_ok_ns, json_extract(call.value, '$[4]') AS errors, json_extract(call.value, '$[5]') AS requested, json_extract(call.value, '$[6]') AS completed, json_extract(call.value, '$[7]') AS latency_ns, coalesce(json_extract(call.value, '$[8]'), 0) AS latency_sum_ns, coalesce(json_extract(call.value, '$[9]'), 0) AS latency_max_ns, json_extract(call.value, '$[10]') AS common_sizes, coalesce(json_extract(call.value, '$[11]'), 0) AS common_sizes_error FROM calls, json_each(by_syscall) AS call;
CREATE VIEW histogram AS SELECT file_id, name AS syscall, 'requested' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.requested) AS bin UNION ALL SELECT file_id, name AS syscall, 'completed' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.completed) AS bin UNION ALL SELECT file_id, name AS syscall, 'latency_ns' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM syscall, json_each(syscall.latency_ns) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'sequential_read' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.sequential_read) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'sequential_write' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.sequential_write) AS bin UNION ALL SELECT file.id AS file_id, NULL AS syscall, 'bytes_between_syncs' AS metric, CAST(bin.key AS INTEGER) AS bucket, bin.value AS count FROM file, json_each(file.bytes_between_syncs) AS bin;
CREATE VIEW error AS SELECT file_id, name AS syscall, bin.key AS errno, bin.value AS count FROM syscall, json_each(syscall.errors) AS bin;
CREATE INDEX file_path ON file (path, mnt_ns);
CREATE INDEX file_renamed_to ON file (renamed_to) WHERE renamed_to IS NOT NULL;
CREATE INDEX file_ended_as ON file (ended_as) WHERE ended_as IS NOT NULL;
COMMIT;
