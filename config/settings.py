"""Every setting of Florin, in one file, each read from the environment by one typed reader.

The environment is the only input: `make run` fills it for the embedded servers, an operator fills
it for real ones. A name that is read here is documented in docs/settings.md, and a test compares.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from environs import Env
from kombu import Queue

from config import logs, mail_server

BASE_DIR = Path(__file__).resolve().parent.parent

env = Env()

# Everything generated lies here: the embedded servers' data, demo keys, logs, static files.
FLORIN_DATA_DIR = Path(env.str("FLORIN_DATA_DIR", str(BASE_DIR / ".florin"))).resolve()

# --- Identity and secrets -----------------------------------------------------------------------
SECRET_KEY = env.str("SECRET_KEY")
# "id:base64 of 32 random bytes", the first encrypts, all decrypt (audit.encryption).
FLORIN_ENCRYPTION_KEYS: list[str] = env.list("FLORIN_ENCRYPTION_KEYS")
DEBUG = False
ALLOWED_HOSTS: list[str] = env.list("ALLOWED_HOSTS", ["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS: list[str] = env.list("CSRF_TRUSTED_ORIGINS", [])
# The address merchants and staff reach us by, for links in e-mails and answers.
FLORIN_BASE_URL = env.str("FLORIN_BASE_URL", "http://localhost:8000")
# True where TLS ends in front of the web process; cookies and redirects follow it.
FLORIN_BEHIND_TLS = env.bool("FLORIN_BEHIND_TLS", False)

# --- Applications -------------------------------------------------------------------------------
INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "unfold.contrib.simple_history",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "corsheaders",
    "django_fsm",
    "drf_spectacular",
    "rest_framework",
    "simple_history",
    "config",
    "audit",
    "ledger",
    "webhooks",
    "payments",
]

MIDDLEWARE = [
    "audit.middleware.AuditContextMiddleware",
    "payments.api.middleware.ApiMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "corsheaders.middleware.CorsMiddleware",
    "payments.api.card_data.RefuseCardNumbers",
    "django.middleware.common.CommonMiddleware",
    # Requests of machines (/v1, /webhooks) turn off here; what follows is for pages.
    "payments.api.middleware.StraightToTheView",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "simple_history.middleware.HistoryRequestMiddleware",
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

# --- PostgreSQL ---------------------------------------------------------------------------------
# Two logins to one database: `default` has the application's rights only (it always takes on the
# role florin_app), `owner` runs migrations. ATOMIC_REQUESTS stays off: an action opens its own
# durable transactions and a provider call never sits inside one.
APPLICATION_ROLE = "florin_app"
_DATABASE_URL = env.str("DATABASE_URL")
_DATABASE_OWNER_URL = env.str("DATABASE_OWNER_URL", _DATABASE_URL)
FLORIN_DATABASE_POOL_SIZE = env.int("FLORIN_DATABASE_POOL_SIZE", 0)


def _database(url: str, *, role: str | None, pool_size: int = 0) -> dict[str, Any]:
    import dj_database_url

    database: dict[str, Any] = dict(dj_database_url.parse(url))
    options = dict(database.get("OPTIONS", {}))
    server_options = [
        "-c lock_timeout=5s",
        "-c idle_in_transaction_session_timeout=60s",
        "-c statement_timeout=60s" if role else "",
        f"-c role={role}" if role else "",
    ]
    options["options"] = " ".join(option for option in server_options if option)
    if pool_size:
        options["pool"] = {"min_size": 1, "max_size": pool_size, "timeout": 10}
    database["OPTIONS"] = options
    database["CONN_MAX_AGE"] = 0 if pool_size else 60
    database["CONN_HEALTH_CHECKS"] = not pool_size
    return database


DATABASES = {
    "default": _database(_DATABASE_URL, role=APPLICATION_ROLE, pool_size=FLORIN_DATABASE_POOL_SIZE),
    "owner": _database(_DATABASE_OWNER_URL, role=None),
}

# --- Redis and Celery ---------------------------------------------------------------------------
# PostgreSQL is the queue, Redis only wakes the workers: every line here answers a way in which
# Celery on Redis loses or repeats tasks (docs/events-pipeline.md, whose table a test compares).
REDIS_URL = env.str("REDIS_URL")
CELERY_BROKER_URL = REDIS_URL
# Nothing is ever read back from a task: what became of it stands in PostgreSQL.
CELERY_RESULT_BACKEND = None
CELERY_TASK_IGNORE_RESULT = True
# A message is forgotten when its task has ended, and comes back when its process was killed.
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
# A task that raised or took too long is over all the same: the row is still due, and a message
# that is rejected instead would be dropped by Redis, not repeated.
CELERY_TASK_ACKS_ON_FAILURE = True
CELERY_TASK_ACKS_ON_TIMEOUT = True
# No message waits with a busy worker while another one is idle.
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
# There are no tasks with a countdown; should there ever be one, they cannot fill the memory.
CELERY_WORKER_ETA_TASK_LIMIT = 100
# Far below the visibility timeout, so that no running task is given to a second worker.
CELERY_TASK_TIME_LIMIT = 60
CELERY_TASK_SOFT_TIME_LIMIT = 45
CELERY_WORKER_POOL = "prefork"
# Publishing never waits (webhooks.wakeup); a worker never gives up waiting for its broker.
CELERY_TASK_PUBLISH_RETRY = False
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
# What runs when the connection is lost will be given to another worker: it ends here.
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = True
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
# Celery closes the database connection around every task, which would double an event's latency;
# config/celery.py checks it before each task instead.
CELERY_DB_REUSE_MAX = 1000
# Leaks of a long-lived pool process end with it; a stop lets running tasks end first.
CELERY_WORKER_MAX_TASKS_PER_CHILD = 1000
CELERY_WORKER_MAX_MEMORY_PER_CHILD = env.int("FLORIN_WORKER_MEMORY_KILOBYTES", 400_000)
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 10.0
# HTTP to merchants waits for other people's servers: a queue of its own, so that an operator can
# give it a worker of its own. A worker started without --queues takes both.
CELERY_TASK_DEFAULT_QUEUE = "events"
CELERY_TASK_CREATE_MISSING_QUEUES = False
CELERY_TASK_QUEUES = [Queue(name, routing_key=name) for name in ("events", "deliveries")]
CELERY_TASK_ROUTES = {
    "webhooks.tasks.deliver": {"queue": "deliveries"},
    "payments.tasks.send_notifications": {"queue": "deliveries"},
}
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": 300,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "socket_keepalive": True,
    "health_check_interval": 25,
    # What a killed worker had taken is looked for every 5 s, not every 100 s (kombu >= 5.7).
    "unacked_restore_interval": 5,
    "unacked_restore_throttle": 1,
}
# Celery's own, which also says that it lives.
CELERY_BEAT_SCHEDULER = "webhooks.beat:Scheduler"
# A second way to completion should no sweeper run; a message nobody took in time is worth nothing.
CELERY_BEAT_SCHEDULE = {
    "sweep": {
        "task": "webhooks.tasks.sweep",
        "schedule": 5.0,
        "options": {"queue": "events", "expires": 5.0},
    },
    "send_notifications": {
        "task": "payments.tasks.send_notifications",
        "schedule": 30.0,
        "options": {"queue": "deliveries", "expires": 30.0},
    },
}

# --- Events -------------------------------------------------------------------------------------
# The one place that says who listens to which domain event, and what a failure does to the
# events behind it ("block" holds the aggregate's later events, "skip" lets them pass).
FLORIN_EVENT_HANDLERS: list[dict[str, Any]] = [
    {
        "name": "merchant_webhooks",
        "function": "webhooks.delivery.fan_out",
        "types": ["*"],
        "policy": "skip",
    },
    {
        "name": "notifications",
        "function": "payments.notifications.writing.tell_of_event",
        "types": [
            "dead_letter.added",
            "request.given_up",
            "payment.contradicted",
            "review.opened",
            "dispute.opened",
            "breaker.opened",
            "breaker.closed",
            "endpoint.failing",
            "endpoint.disabled",
        ],
        "policy": "skip",
    },
]
# Applies one stored provider event to its payment, inside the drain's transaction.
FLORIN_INBOX_APPLY = "payments.actions.apply_provider_event.apply_provider_event"
# Says of a provider account whether it is one of live mode.
FLORIN_INBOX_IS_LIVE = "payments.actions.provider_accounts.is_live"
# Jobs the sweeper runs when their row in PostgreSQL says so: {"name", "function", "every_seconds"}.
FLORIN_PERIODIC_JOBS: list[dict[str, Any]] = [
    {
        "name": "sample_queues",
        "function": "webhooks.samples.take",
        "every_seconds": 60.0,
    },
    {
        "name": "resume_payments",
        "function": "payments.tasks.resume_payments",
        "every_seconds": 1.0,
    },
    {
        "name": "tell_breakers",
        "function": "payments.tasks.tell_breakers",
        "every_seconds": 5.0,
    },
    {
        "name": "resume_payment_methods",
        "function": "payments.tasks.resume_payment_methods",
        "every_seconds": 2.0,
    },
    {
        "name": "sweep_provider_events",
        "function": "payments.tasks.sweep_provider_events",
        "every_seconds": 5.0,
    },
    {
        "name": "ask_about_deferred_events",
        "function": "payments.tasks.ask_about_deferred_events",
        "every_seconds": 5.0,
    },
    {
        "name": "complete_dead_requests",
        "function": "payments.tasks.complete_dead_requests",
        "every_seconds": 10.0,
    },
    {
        "name": "expire_unpaid_payments",
        "function": "payments.tasks.expire_unpaid_payments",
        "every_seconds": 30.0,
    },
    {
        "name": "reap_idempotency_keys",
        "function": "payments.tasks.reap_idempotency_keys",
        "every_seconds": 60.0,
    },
    {
        "name": "ensure_audit_partitions",
        "function": "audit.partitions.ensure_partitions",
        "every_seconds": 3600.0,
    },
    {
        "name": "ensure_inbox_partitions",
        "function": "webhooks.partitions.ensure_partitions",
        "every_seconds": 3600.0,
    },
    {
        "name": "drop_expired_inbox_months",
        "function": "webhooks.partitions.drop_expired_months",
        "every_seconds": 6 * 3600.0,
    },
    {
        "name": "delete_old_failed_attempts",
        "function": "webhooks.attempts.delete_old",
        "every_seconds": 3600.0,
    },
    {
        "name": "delete_old_deliveries",
        "function": "webhooks.retention.delete_old",
        "every_seconds": 60.0,
    },
    {
        "name": "delete_old_notifications",
        "function": "payments.notifications.retention.delete_old",
        "every_seconds": 3600.0,
    },
    {
        "name": "watch_conditions",
        "function": "payments.notifications.conditions.watch",
        "every_seconds": 15.0,
    },
    {
        "name": "tell_counted_notifications",
        "function": "payments.notifications.writing.tell_counted",
        "every_seconds": 10.0,
    },
]
# What sends to other people's servers, each in a thread of its own in the sweeper, so that one that
# hangs holds up neither events nor the other: deliver(*, clock, stopping, idle_pause_seconds,
# doorbell), which looks for more when the pause is over and when the bell rings.
FLORIN_SENDERS: list[str] = [
    "webhooks.delivery.deliver",
    "payments.notifications.sending.deliver",
]
# Full months of providers' events that are kept as they came; their keys are kept for ever. Failed
# tries, and notifications that ended, are kept as long.
FLORIN_INBOX_RETENTION_MONTHS = env.int("FLORIN_INBOX_RETENTION_MONTHS", 13)
# Deliveries to merchants and to handlers that ended are kept for so many days, events for ever.
FLORIN_DELIVERY_RETENTION_DAYS = env.int("FLORIN_DELIVERY_RETENTION_DAYS", 400)
# Exact "host:port" pairs outside the public internet that may receive webhooks. Empty by default.
FLORIN_WEBHOOK_ALLOWED_HOSTS: list[str] = env.list("FLORIN_WEBHOOK_ALLOWED_HOSTS", [])
# Requests to merchants that one sending process has open at a time, in all and per endpoint.
FLORIN_WEBHOOK_CONCURRENCY = env.int("FLORIN_WEBHOOK_CONCURRENCY", 128)
FLORIN_WEBHOOK_CONCURRENCY_PER_ENDPOINT = env.int("FLORIN_WEBHOOK_CONCURRENCY_PER_ENDPOINT", 4)

# --- Mail to staff ------------------------------------------------------------------------------
# Without EMAIL_URL no mail is sent, and the back office says so (docs/notifications.md).
EMAIL_BACKEND = "payments.notifications.email.WatchedEmailBackend"
_MAIL = mail_server.parse(env.str("EMAIL_URL", ""))
EMAIL_HOST = _MAIL.host
EMAIL_PORT = _MAIL.port
EMAIL_HOST_USER = _MAIL.user
EMAIL_HOST_PASSWORD = _MAIL.password
EMAIL_USE_TLS = _MAIL.starttls
EMAIL_USE_SSL = _MAIL.tls
# Per step of the conversation; the whole of it has a deadline of its own.
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("FLORIN_MAIL_FROM", "florin@localhost")

# --- Providers ----------------------------------------------------------------------------------
# The one place that names the payment providers; each class fulfils payments.providers.base.
FLORIN_PROVIDERS = {
    "sandbox": "payments.providers.sandbox.provider.SandboxProvider",
    "stripe": "payments.providers.stripe.provider.StripeProvider",
}
FLORIN_SANDBOX_URL = env.str("FLORIN_SANDBOX_URL", "http://127.0.0.1:8010")
FLORIN_STRIPE_API_BASE = env.str("FLORIN_STRIPE_API_BASE", "https://api.stripe.com")
# What Stripe grants these accounts by contract: multicapture, incremental_authorization.
FLORIN_STRIPE_CARD_FEATURES: list[str] = env.list("FLORIN_STRIPE_CARD_FEATURES", [])
# A payment that nobody pays is canceled, at the PSP first, this long after it was created.
FLORIN_PAYMENT_LIFETIME_HOURS = env.int("FLORIN_PAYMENT_LIFETIME_HOURS", 168)
FLORIN_PROVIDER_TIMEOUT_SECONDS = env.float("FLORIN_PROVIDER_TIMEOUT_SECONDS", 20.0)
# When calls to a provider account stop going out, per class of operation (payments.providers.
# breaker): failed or slow calls in a window, and how it finds out that the provider is back.
FLORIN_BREAKER_WINDOW_SECONDS = env.float("FLORIN_BREAKER_WINDOW_SECONDS", 60.0)
FLORIN_BREAKER_MINIMUM_CALLS = env.int("FLORIN_BREAKER_MINIMUM_CALLS", 20)
FLORIN_BREAKER_FAILURE_RATIO = env.float("FLORIN_BREAKER_FAILURE_RATIO", 0.5)
FLORIN_BREAKER_SLOW_CALL_SECONDS = env.float("FLORIN_BREAKER_SLOW_CALL_SECONDS", 10.0)
FLORIN_BREAKER_OPEN_SECONDS = env.float("FLORIN_BREAKER_OPEN_SECONDS", 15.0)
FLORIN_BREAKER_PERMITS = env.int("FLORIN_BREAKER_PERMITS", 3)
# How often a provider account's own list of events is compared with the inbox.
FLORIN_EVENT_SWEEP_SECONDS = env.float("FLORIN_EVENT_SWEEP_SECONDS", 60.0)
# Threads of one process that recover payments, in all and per provider account.
FLORIN_RESUME_THREADS = env.int("FLORIN_RESUME_THREADS", 16)
FLORIN_RESUME_THREADS_PER_ACCOUNT = env.int("FLORIN_RESUME_THREADS_PER_ACCOUNT", 3)

# --- API ----------------------------------------------------------------------------------------
FLORIN_API_VERSION = "2026-11-20"
# Requests per second: (of one key, of all keys of its merchant). Test mode gets its share of them,
# and so many seconds' worth may come at once.
FLORIN_RATE_LIMITS = {
    "read": (
        env.float("FLORIN_RATE_LIMIT_KEY_READS", 200.0),
        env.float("FLORIN_RATE_LIMIT_MERCHANT_READS", 400.0),
    ),
    "write": (
        env.float("FLORIN_RATE_LIMIT_KEY_WRITES", 100.0),
        env.float("FLORIN_RATE_LIMIT_MERCHANT_WRITES", 200.0),
    ),
    "client": (
        env.float("FLORIN_RATE_LIMIT_KEY_CLIENT", 200.0),
        env.float("FLORIN_RATE_LIMIT_MERCHANT_CLIENT", 400.0),
    ),
}
FLORIN_RATE_LIMIT_TEST_MODE_SHARE = env.float("FLORIN_RATE_LIMIT_TEST_MODE_SHARE", 0.5)
FLORIN_RATE_LIMIT_BURST_SECONDS = env.float("FLORIN_RATE_LIMIT_BURST_SECONDS", 4.0)
# From when on new payments (429) and providers' webhooks (503) have to wait.
FLORIN_TOO_BUSY_MERCHANT_OPERATIONS = env.int("FLORIN_TOO_BUSY_MERCHANT_OPERATIONS", 500)
FLORIN_TOO_BUSY_OPERATIONS = env.int("FLORIN_TOO_BUSY_OPERATIONS", 10_000)
FLORIN_TOO_BUSY_INBOX_SECONDS = env.float("FLORIN_TOO_BUSY_INBOX_SECONDS", 300.0)
FLORIN_TOO_BUSY_POOL_WAITING = env.int("FLORIN_TOO_BUSY_POOL_WAITING", 8)
FLORIN_WEBHOOK_BUSY_INBOX_SECONDS = env.float("FLORIN_WEBHOOK_BUSY_INBOX_SECONDS", 1800.0)
# Live status (payments.api.stream): where payers' pages reach the stream process, how often an
# idle stream says that it is alive, and when one ends by itself: after so long at most, and so
# long after the payment has come to an end.
FLORIN_STREAM_URL = env.str("FLORIN_STREAM_URL", FLORIN_BASE_URL)
FLORIN_STREAM_HEARTBEAT_SECONDS = env.float("FLORIN_STREAM_HEARTBEAT_SECONDS", 15.0)
FLORIN_STREAM_SECONDS_MAX = env.float("FLORIN_STREAM_SECONDS_MAX", 1800.0)
FLORIN_STREAM_GRACE_SECONDS = env.float("FLORIN_STREAM_GRACE_SECONDS", 30.0)
# Streams that one process has open at a time, in all, per publishable key and per payment.
FLORIN_STREAMS_MAX = env.int("FLORIN_STREAMS_MAX", 2000)
FLORIN_STREAMS_MAX_PER_KEY = env.int("FLORIN_STREAMS_MAX_PER_KEY", 1000)
FLORIN_STREAMS_MAX_PER_PAYMENT = env.int("FLORIN_STREAMS_MAX_PER_PAYMENT", 10)
# What opens /metrics from another machine; without it only this machine may read them.
FLORIN_METRICS_TOKEN = env.str("FLORIN_METRICS_TOKEN", "")
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["payments.api.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["payments.api.authentication.SecretKeyRequired"],
    "DEFAULT_RENDERER_CLASSES": ["payments.api.rendering.CompactJSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["payments.api.parsers.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "payments.api.rendering.OnlyJSON",
    "DEFAULT_SCHEMA_CLASS": "payments.api.openapi.OperationSchema",
    "EXCEPTION_HANDLER": "payments.api.errors.exception_handler",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Florin API",
    "DESCRIPTION": (
        "Payments from request to balanced books. Amounts are whole numbers of minor units, times "
        "are UTC, ids sort by time. Every answer carries `Request-Id` and `Florin-Version`."
    ),
    "VERSION": FLORIN_API_VERSION,
    "OAS_VERSION": "3.1.0",
    "LICENSE": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
    "SERVERS": [{"url": "/", "description": "This installation"}],
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/v1",
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "ENUM_NAME_OVERRIDES": {
        "PaymentStatus": "payments.api.serializers.PAYMENT_STATUSES",
        "EndpointStatus": "payments.api.serializers.ENDPOINT_STATUSES",
        "WebhookDeliveryStatus": "payments.api.delivery_serializers.DELIVERY_STATUSES",
        "CaptureMethod": "payments.models.Payment.CaptureMethod",
        "CaptureStatus": "payments.api.part_serializers.CAPTURE_STATUSES",
        "RefundStatus": "payments.api.part_serializers.REFUND_STATUSES",
        "DisputeStatus": "payments.api.part_serializers.DISPUTE_STATUSES",
        "RefundReason": "payments.api.part_serializers.REFUND_REASONS",
        "CancellationReason": "payments.api.serializers.CANCELLATION_REASONS",
    },
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "payments.api.openapi.describe",
    ],
}
# The payer's page may be anywhere, so its routes answer every origin; they need no cookies, and
# the publishable key and the client secret come in headers.
CORS_URLS_REGEX = r"^/v1/client/.*$"
CORS_ALLOW_ALL_ORIGINS = True
CORS_ALLOW_CREDENTIALS = False
CORS_ALLOW_METHODS = ["GET", "POST", "OPTIONS"]
CORS_ALLOW_HEADERS = ["authorization", "client-secret", "content-type", "last-event-id"]
CORS_EXPOSE_HEADERS = [
    "Request-Id",
    "Florin-Version",
    "RateLimit-Limit",
    "RateLimit-Remaining",
    "RateLimit-Reset",
    "Retry-After",
]
CORS_PREFLIGHT_MAX_AGE = 3600

# --- Pages and staff ----------------------------------------------------------------------------
LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
FORMAT_MODULE_PATH = ["config.formats"]
STATIC_URL = "/static/"
STATIC_ROOT = FLORIN_DATA_DIR / "static"
STATICFILES_FINDERS = [
    "django.contrib.staticfiles.finders.FileSystemFinder",
    "django.contrib.staticfiles.finders.AppDirectoriesFinder",
]
LOGIN_URL = "admin:login"
SIMPLE_HISTORY_REVERT_DISABLED = True
SIMPLE_HISTORY_ENFORCE_HISTORY_MODEL_PERMISSIONS = True
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = env.int("SESSION_COOKIE_AGE", 15 * 60)
SESSION_SAVE_EVERY_REQUEST = True
SESSION_COOKIE_SECURE = FLORIN_BEHIND_TLS
CSRF_COOKIE_SECURE = FLORIN_BEHIND_TLS
SECURE_SSL_REDIRECT = FLORIN_BEHIND_TLS
SECURE_HSTS_SECONDS = 31_536_000 if FLORIN_BEHIND_TLS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = FLORIN_BEHIND_TLS
SECURE_HSTS_PRELOAD = FLORIN_BEHIND_TLS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if FLORIN_BEHIND_TLS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
DATA_UPLOAD_MAX_MEMORY_SIZE = 1_048_576

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": "Florin",
    "SITE_HEADER": "Florin",
    "SITE_SUBHEADER": "Back office",
    "SITE_SYMBOL": "account_balance",
    "SITE_URL": None,
    "SHOW_HISTORY": False,  # pages that have one say so (payments.admin.read_only)
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "8px",
    "STYLES": [f"{STATIC_URL}florin/backoffice.css"],
    "SITE_FAVICONS": [
        {"rel": "icon", "type": "image/svg+xml", "href": f"{STATIC_URL}florin/favicon.svg"}
    ],
    "DASHBOARD_CALLBACK": "payments.admin.dashboard.dashboard",
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": "payments.admin.navigation.sidebar",
    },
    "COLORS": {
        # Deep teal: 4.5:1 and more on white for 600 and darker.
        "primary": {
            "50": "oklch(97% .02 195)",
            "100": "oklch(93% .04 195)",
            "200": "oklch(87% .07 195)",
            "300": "oklch(79% .1 195)",
            "400": "oklch(70% .11 195)",
            "500": "oklch(60% .1 195)",
            "600": "oklch(50% .09 195)",
            "700": "oklch(43% .08 195)",
            "800": "oklch(37% .065 195)",
            "900": "oklch(31% .05 195)",
            "950": "oklch(23% .04 195)",
        },
    },
}

# --- Logs ---------------------------------------------------------------------------------------
LOG_LEVEL = env.str("LOG_LEVEL", "INFO")
LOGGING = logs.configure(LOG_LEVEL)
