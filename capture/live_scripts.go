package capture

import (
	"fmt"
	"time"

	ssmtypes "github.com/aws/aws-sdk-go-v2/service/ssm/types"
)

// artefact is what one command tells of a running host.
type artefact struct {
	name   string
	script string // one line, read-only; on Linux without single quotes
}

// artefactLimit is what one command may take on the host; what it has printed by then is kept.
const artefactLimit = 30 * time.Second

// linuxArtefacts, the most volatile first (RFC 3227, 2.1: routing and neighbour tables and processes, then
// what lives as long as the system runs, then what is on the disk). Nothing here is known to write, or asks the network
// for names; ss makes the kernel load its modules for socket diagnosis, so /proc is read before it.
var linuxArtefacts = []artefact{
	{"sockets", `cat /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 /proc/net/raw; ss -tuwanpeo`},
	{"network", `ip -d address; ip rule; ip route show table all; ip -6 route show table all; ip neighbour; cat /etc/resolv.conf /etc/hosts`},
	{"processes", `ps -eww -o pid,ppid,user,lstart,tty,stat,args --forest; ls -l /proc/[0-9]*/exe /proc/[0-9]*/cwd`},
	{"deleted-files", `find /proc/[0-9]*/fd /proc/[0-9]*/exe -lname "*(deleted)" -exec ls -l {} +`},
	{"users", `w; who -a; last -F -n 500`},
	{"modules", `cat /proc/modules /proc/sys/kernel/tainted`},
	{"mounts", `cat /proc/self/mountinfo /proc/swaps; lsblk -o NAME,SIZE,TYPE,FSTYPE,UUID,MOUNTPOINT`},
	{"system", `date; uptime; uname -a; cat /proc/cmdline /etc/os-release`},
	{"schedules", `tail -n +1 /etc/crontab /etc/anacrontab /etc/cron.*/* /var/spool/cron/* /var/spool/cron/crontabs/*; systemctl list-timers --all --no-pager`},
}

// windowsArtefacts in the same order.
var windowsArtefacts = []artefact{
	{"sockets", `Get-NetTCPConnection | Sort-Object State,LocalPort | Format-Table -AutoSize LocalAddress,LocalPort,RemoteAddress,RemotePort,State,OwningProcess,CreationTime; Get-NetUDPEndpoint | Format-Table -AutoSize LocalAddress,LocalPort,OwningProcess,CreationTime`},
	{"network", `Get-NetIPAddress | Format-Table -AutoSize InterfaceAlias,IPAddress,PrefixLength; Get-NetRoute | Format-Table -AutoSize; Get-NetNeighbor | Format-Table -AutoSize; Get-DnsClientCache | Format-Table -AutoSize; Get-DnsClientServerAddress | Format-Table -AutoSize`},
	{"processes", `Get-CimInstance Win32_Process | Format-List ProcessId,ParentProcessId,SessionId,CreationDate,ExecutablePath,CommandLine`},
	{"users", `quser; Get-CimInstance Win32_LogonSession | Format-Table -AutoSize LogonId,LogonType,StartTime,AuthenticationPackage; Get-CimInstance Win32_LoggedOnUser | Format-List Antecedent,Dependent`},
	{"modules", `Get-CimInstance Win32_SystemDriver | Format-Table -AutoSize Name,State,StartMode,PathName`},
	{"mounts", `Get-Volume | Format-Table -AutoSize DriveLetter,FileSystemLabel,FileSystem,Size,UniqueId; Get-CimInstance Win32_MappedLogicalDisk | Format-List`},
	{"system", `Get-Date -Format o; Get-CimInstance Win32_OperatingSystem | Format-List Caption,Version,BuildNumber,LastBootUpTime,LocalDateTime`},
	{"schedules", `Get-ScheduledTask | Format-List TaskPath,TaskName,State,Author,@{n='Actions';e={$_.Actions | ForEach-Object { $_.Execute + ' ' + $_.Arguments }}}; Get-CimInstance Win32_Service | Format-List Name,State,StartMode,StartName,PathName`},
}

// artefactsOf a host; nil, which nobody could ask, counts as Linux: an earlier
// try can have stored what it said.
func artefactsOf(a *agent) []artefact {
	if a != nil && a.platform == ssmtypes.PlatformTypeWindows {
		return windowsArtefacts
	}
	return linuxArtefacts
}

// script wraps an artefact's own so that it ends in time, is bounded, and comes
// back compressed: the 24,000 characters that Systems Manager returns (API_GetCommandInvocation) hold
// several times as much, and bytes that are no text survive. Nothing goes through a file.
func (a *agent) script(x artefact) string {
	if a.platform == ssmtypes.PlatformTypeWindows {
		return `$t = & { ` + x.script + ` } 2>&1 | Out-String -Width 2000; $m = New-Object IO.MemoryStream; ` +
			`$z = New-Object IO.Compression.GzipStream($m, [IO.Compression.CompressionMode]::Compress); ` +
			`$b = [Text.Encoding]::UTF8.GetBytes($t); $z.Write($b, 0, $b.Length); $z.Close(); [Convert]::ToBase64String($m.ToArray())`
	}
	const most = 16 << 20
	seconds := int(artefactLimit.Seconds()) - 10 // before the agent ends it all, and nothing is left
	return fmt.Sprintf(`export LC_ALL=C TZ=UTC PATH=/usr/sbin:/usr/bin:/sbin:/bin; timeout -k 3 %d sh -c '%s' 2>&1 | head -c %d | gzip -9c | base64`,
		seconds, x.script, most)
}
