"""Every text of the pages, in Korean and in English."""

from __future__ import annotations

from adstudio.vision.errors import Language

LANGUAGES: dict[Language, str] = {"ko": "한국어", "en": "English"}

# Each in Korean and in English.
TEXTS: dict[str, tuple[str, str]] = {
    "skip": ("본문으로 건너뛰기", "Skip to the content"),
    "ads": ("광고", "Ads"),
    "all": ("모든 광고", "All ads"),
    "sign_in": ("로그인", "Sign in"),
    "sign_out": ("로그아웃", "Sign out"),
    "token": ("토큰", "Token"),
    "token.why": ("담당자에게 받은 토큰을 입력하세요.", "Enter the token that you were given."),
    "token.wrong": ("토큰이 맞지 않습니다.", "That token is not known."),
    "token.slow": ("실패가 너무 많습니다. 잠시 후 다시 시도하세요.", "Too many failures. Try again in a while."),
    # the form
    "new": ("새 광고", "A new ad"),
    "photo": ("사진", "Photo"),
    "photo.hint": ("JPEG, PNG, WebP · 최대 25 MB", "JPEG, PNG or WebP, up to 25 MB"),
    "copy": ("카피", "Copy"),
    "copy.hint": (
        "줄을 바꾸면 헤드라인과 서브 카피로 나뉩니다. 가격과 할인율은 자동으로 강조됩니다.",
        "A new line parts headline and sub line. Prices and percents become the offer.",
    ),
    "copy.example": ("봄을 선물하세요\n첫 구매 20% 할인", "A gift of spring\n20% off your first order"),
    "roles": ("역할별로 입력", "By roles"),
    "roles.hint": ("채우면 위의 카피 대신 쓰입니다.", "Where filled in, they are used in place of the copy above."),
    "read": ("카피 확인", "See how it is read"),
    "read.as": ("카피를 이렇게 읽었어요", "This is how we read your copy"),
    "read.hint": (
        "고칠 곳이 있으면 고친 뒤 광고를 만들어 주세요. 여기에 적힌 그대로 들어갑니다.",
        "Correct a field that is wrong, then make the ad: it is set as it stands here.",
    ),
    "headline": ("헤드라인", "Headline"),
    "sub": ("서브 카피", "Sub line"),
    "offer": ("혜택", "Offer"),
    "note": ("혜택 아래 문구", "Below the offer"),
    "cta": ("버튼", "Button"),
    "brand": ("브랜드", "Brand"),
    "legal": ("고지 문구", "Legal line"),
    "formats": ("형식", "Formats"),
    "tenant": ("테넌트", "Tenant"),
    "submit": ("광고 만들기", "Make the ad"),
    "sending": ("보내는 중…", "Sending…"),
    "recent": ("최근 광고", "Recent ads"),
    "none": ("아직 광고가 없습니다.", "There are no ads yet."),
    # the brand kit
    "kit": ("브랜드", "Brand"),
    "kit.hint": (
        "다음 광고부터 적용됩니다. 비워 두어도 됩니다.",
        "Used from the next ad on. All of it may be left empty.",
    ),
    "kit.name": ("브랜드 이름", "Name"),
    "kit.colour": ("브랜드 색", "Colour"),
    "kit.accent": ("강조 색", "Accent"),
    "kit.logo": ("로고", "Logo"),
    "kit.logo.hint": ("배경이 투명한 PNG · 최대 2 MB", "A PNG with a transparent ground, up to 2 MB"),
    "kit.font": ("글꼴", "Font"),
    "kit.font.hint": ("OTF 또는 TTF · 최대 8 MB", "OTF or TTF, up to 8 MB"),
    "kit.remove": ("지금 파일 삭제", "Remove the present one"),
    "kit.save": ("저장", "Save"),
    # a job
    "step.img_gen": ("접수", "Received"),
    "step.vlm_analyze": ("사진 확인", "Photo checked"),
    "step.yolo_detect": ("피사체 찾기", "Subject found"),
    "step.planner": ("구성", "Laid out"),
    "step.overlay": ("제작", "Set"),
    "step.vlm_judge": ("심사", "Judged"),
    "state.waiting": ("대기 중", "waiting"),
    "state.working": ("제작 중", "being made"),
    "state.held": ("잠시 대기", "held up"),
    "state.failed": ("만들지 못함", "not made"),
    "state.finished": ("완성", "finished"),
    "state.approved": ("승인됨", "approved"),
    "state.rejected": ("반려됨", "rejected"),
    "step.done": ("완료", "done"),
    "step.now": ("진행 중", "under way"),
    "step.next": ("대기", "to come"),
    "step.failed": ("실패", "failed"),
    "broken": (
        "{step} 단계에서 오류가 나서 만들지 못했습니다. 운영자가 확인하고 있습니다. 다시 보내실 필요는 없습니다.",
        "A fault of ours stopped it at “{step}”. The operators see it; there is no need to send it again.",
    ),
    "verdict.passed": ("심사 통과", "passed"),
    "verdict.person": ("확인 필요", "a person has to confirm"),
    "verdict.refused": ("심사 불통과", "not passed"),
    "judged_by": ("심사: {judge}", "judged by {judge}"),
    "measured": ("측정 검사", "measured checks"),
    "chosen": ("추천", "suggested"),
    "candidate": ("시안 {n}", "candidate {n}"),
    "use": ("이 시안 사용", "use this one"),
    "save": ("내려받기", "Download"),
    "save_all": ("모든 형식 내려받기 (ZIP)", "Download every format (ZIP)"),
    "original": ("원본 비율", "the photo's own ratio"),
    "checks": ("심사 항목", "What was checked"),
    "check": ("항목", "Check"),
    "value": ("값", "Value"),
    "limit": ("기준", "Limit"),
    "reason": ("설명", "Reason"),
    "passed": ("통과", "passed"),
    "not_passed": ("미달", "not passed"),
    "photo_of": ("원본 사진", "The photo"),
    # the names of the judge's checks
    "check.resolution": ("해상도", "resolution"),
    "check.safe_area": ("안전 영역", "safe area"),
    "check.occlusion": ("피사체 가림", "subject free"),
    "check.subject_kept": ("피사체 유지", "subject kept"),
    "check.faces": ("얼굴", "faces"),
    "check.readability": ("글자 뒤 배경", "calm ground"),
    "check.contrast": ("글자 대비", "contrast"),
    "check.size": ("글자 크기", "size of type"),
    "check.hierarchy": ("크기 위계", "hierarchy"),
    "check.alignment": ("글줄 정렬", "alignment"),
    "check.white_space": ("여백", "white space"),
    "check.breaks": ("줄바꿈", "line breaks"),
    "check.wording": ("카피 일치", "wording"),
    "check.read_back": ("글자 인식", "read back"),
    "check.read_small": ("휴대폰에서 인식", "read on a phone"),
    "check.parting": ("카피 읽기", "reading of the copy"),
    "check.publishable": ("게재 가능", "publishable"),
    "check.legible": ("가독성", "legible"),
    "check.subject_free": ("피사체 가림(모델)", "subject free, by the model"),
    "check.fits_copy": ("사진과 카피", "photo and copy"),
    "check.photo_publishable": ("사진 게재 가능", "photo publishable"),
    "check.sharpness": ("선명도", "sharpness"),
    "check.brightness": ("밝기", "brightness"),
    "check.clipping": ("밝기 손실", "clipping"),
    # a decision
    "decide": ("결정", "Decision"),
    "decide.hint": (
        "형식마다 쓸 시안을 고르고 승인하거나, 이유를 적어 반려하세요.",
        "Pick one for each format and approve, or reject and say why.",
    ),
    "why": ("이유", "Reason"),
    "why.hint": ("반려할 때는 꼭 적어 주세요.", "Needed where you reject."),
    "approve": ("승인", "Approve"),
    "reject": ("반려", "Reject"),
    "decided": ("{when}에 결정", "decided at {when}"),
    "reload": ("새로 고침", "Reload"),
    # faults
    "fault": ("처리하지 못했습니다", "That did not work"),
    "fault.401": ("먼저 로그인하세요.", "Sign in first."),
    "fault.403": (
        "이 요청은 이 페이지에서 온 것이 아닙니다. 페이지를 새로 고친 뒤 다시 시도하세요.",
        "This request did not come from this page. Load the page anew and try again.",
    ),
    "fault.no_tenant": (
        "테넌트가 없거나 올바르지 않습니다.",
        "The tenant is missing, or no name that a tenant can have.",
    ),
    "fault.tenant": ("다른 테넌트의 토큰입니다.", "That token is another tenant's."),
    "fault.busy": (
        "지금 올라오는 사진이 많습니다. 잠시 후 다시 보내 주세요.",
        "Many photos are coming in just now. Send yours again in a moment.",
    ),
    "fault.picture": ("그런 그림이 없습니다.", "There is no such picture."),
    "fault.404": ("그런 광고가 없습니다.", "There is no such ad."),
    "fault.409": ("아직 완성되지 않았습니다.", "It is not finished yet."),
    "fault.413": (
        "파일이 너무 큽니다. 사진은 25 MB까지 보낼 수 있습니다.",
        "That is too large: a photo may have 25 MB.",
    ),
    "fault.reason": ("반려하려면 이유를 적어 주세요(최대 1,000자).", "To reject, say why, in up to 1,000 characters."),
    "fault.choice": ("고른 시안이 없습니다.", "There is no such candidate."),
    "fault.store": (
        "지금은 사진을 저장할 수 없습니다. 잠시 후 다시 보내 주세요.",
        "The photo cannot be stored now. Send it again in a moment.",
    ),
    "fault.missing": (
        "지금은 그림을 불러올 수 없습니다. 잠시 후 다시 시도하세요.",
        "The picture cannot be had now. Try again in a moment.",
    ),
}


def text(language: Language, key: str, **values: object) -> str:
    """The text, with its values put in. Raises ``KeyError`` for an unknown key."""
    told = TEXTS[key][0 if language == "ko" else 1]
    return told.format(**values) if values else told


def name_of_check(name: str, language: Language) -> str:
    """A check's name for people; a check that is not ours keeps its own."""
    return text(language, f"check.{name}") if f"check.{name}" in TEXTS else name


def preferred(accepted: str, default: Language) -> Language:
    """The one of ours that an ``Accept-Language`` header wants most; ``default`` where it wants neither."""
    best: tuple[float, Language] | None = None
    for part in accepted[:500].split(","):
        name, _, rest = part.strip().partition(";")
        try:
            weight = float(rest.strip().removeprefix("q=")) if rest else 1.0
        except ValueError:
            continue
        for language in LANGUAGES:
            if name.lower().split("-")[0] == language and weight > 0 and (best is None or weight > best[0]):
                best = (weight, language)
    return best[1] if best else default
