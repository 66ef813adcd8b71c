/*
 * The discoverer `fileSd`: files of target groups (sd_priv.h), each a part of its own, so that a
 * changed file costs a look at its own targets. A file that is gone keeps its list until SIGHUP.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "fleet/files_priv.h"
#include "fleet/fleet_priv.h"
#include "fleet/sd_priv.h"

#define PATTERNS_MAX 1000

struct file_sd {
	struct discoverer discoverer;
	struct discovery *discovery;
	struct files *files;
};

static const struct conf_opt file_sd_opts[] = {
	{ "fileSd", CONF_TEXTS, NULL, "files of target groups, * and ? and [] allowed", 0, 0 },
	DISCOVERY_TARGET_OPTS,
	{ .name = NULL },
};

static int
take(void *ctx, const char *path, struct str text, struct err *err)
{
	struct file_sd *sd = ctx;
	struct target_list list;
	int rc;

	target_list_init(&list);
	rc = sd_read(text, path, &sd->discovery->defaults, &list, err);
	if (rc == 0)
		rc = discovery_yield(sd->discovery, path, &list, err);
	target_list_fini(&list);
	return rc;
}

static void
confirm(void *ctx)
{
	discovery_confirm(((struct file_sd *)ctx)->discovery);
}

static void
failed(void *ctx)
{
	discovery_failed(((struct file_sd *)ctx)->discovery);
}

static void
dropped(void *ctx, const char *path)
{
	discovery_drop(((struct file_sd *)ctx)->discovery, path);
}

static void
file_sd_close(struct discoverer *discoverer)
{
	struct file_sd *sd = CONTAINER_OF(discoverer, struct file_sd, discoverer);

	files_free(sd->files);
	free(sd);
}

/* The patterns: a list of texts or one text. Returns how many, at most max. */
static size_t
patterns_of(const struct conf *node, struct str *out, size_t max)
{
	size_t n = 0;

	if (node->shape == CONF_SCALAR) {
		out[0] = node->text;
		return 1;
	}
	for (const struct conf *child = node->first; child != NULL && n < max; child = child->next)
		out[n++] = child->text;
	return n;
}

static struct discoverer *
file_sd_open(struct discovery *discovery, struct err *err)
{
	struct file_sd *sd = calloc(1, sizeof(*sd));
	struct str patterns[PATTERNS_MAX];
	size_t n = patterns_of(conf_child(discovery->conf, "fileSd"), patterns, PATTERNS_MAX);
	struct files_user user = { take, confirm, failed, dropped, sd, "target file",
		SD_BYTES_MAX };

	if (sd == NULL) {
		err_nomem(err);
		return NULL;
	}
	sd->discoverer.ops = &discoverer_file_sd;
	sd->discovery = discovery;
	sd->files = files_new(discovery->fleet->loop, &discovery->fleet->registry_lock, patterns, n,
	    false, &user, err);
	if (sd->files == NULL) {
		file_sd_close(&sd->discoverer);
		return NULL;
	}
	files_scan(sd->files, true);
	return &sd->discoverer;
}

static void
file_sd_refresh(struct discoverer *discoverer)
{
	struct file_sd *sd = CONTAINER_OF(discoverer, struct file_sd, discoverer);

	files_scan(sd->files, true);
	files_forget_gone(sd->files);
}

static void
file_sd_check(const struct conf *entry, struct conf_report *report)
{
	const struct conf *node = conf_child(entry, "fileSd");
	size_t n = 0;

	if (node->shape == CONF_SCALAR && node->text.len == 0)
		conf_complain(report, node, "'fileSd' must name files");
	for (const struct conf *child = node->first; child != NULL; child = child->next) {
		if (child->text.len == 0)
			conf_complain(report, child, "'fileSd' must name files");
		n++;
	}
	if (node->shape == CONF_LIST && (n == 0 || n > PATTERNS_MAX))
		conf_complain(report, node, "'fileSd' must name 1 to %d patterns", PATTERNS_MAX);
}

const struct discoverer_ops discoverer_file_sd = {
	.key = "fileSd",
	.help = "Prometheus' file_sd",
	.origin = ORIGIN_FILE_SD,
	.opts = file_sd_opts,
	.check = file_sd_check,
	.open = file_sd_open,
	.refresh = file_sd_refresh,
	.close = file_sd_close,
};
